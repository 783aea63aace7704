//! A plain way to walk the verifier's own tree: names by namespace, attributes without one, text whole.

use uppsala::{Document, Element, NodeId, NodeKind};

use crate::Refused;

/// An element of the document.
#[derive(Clone, Copy)]
pub(super) struct Node<'d> {
    document: &'d Document<'d>,
    id: NodeId,
    element: &'d Element<'d>,
}

impl<'d> Node<'d> {
    /// The element with that id; nothing for text, comments and the document itself.
    pub(super) fn new(document: &'d Document<'d>, id: NodeId) -> Option<Self> {
        let element = document.element(id)?;
        Some(Self {
            document,
            id,
            element,
        })
    }

    /// Which node of the document it is.
    pub(super) fn id(self) -> NodeId {
        self.id
    }

    /// Whether it has that name in that namespace.
    pub(super) fn is(self, namespace: &str, name: &str) -> bool {
        self.element.matches_name_ns(namespace, name)
    }

    /// Its name, if it is in that namespace.
    pub(super) fn name_in(self, namespace: &str) -> Option<&'d str> {
        let name = &self.element.name;
        (name.namespace_uri.as_deref() == Some(namespace)).then_some(&*name.local_name)
    }

    /// The value of an attribute that is in no namespace.
    pub(super) fn attribute(self, name: &str) -> Option<&'d str> {
        let mut attributes = self.element.attributes.iter();
        let found = attributes.find(|attribute| {
            attribute.name.namespace_uri.is_none() && attribute.name.local_name == name
        });
        found.map(|attribute| &*attribute.value)
    }

    /// The value of an attribute that is in a namespace.
    pub(super) fn attribute_in(self, namespace: &str, name: &str) -> Option<&'d str> {
        self.element.get_attribute_ns(namespace, name)
    }

    /// All its attributes: namespace, name and value.
    pub(super) fn attributes(self) -> impl Iterator<Item = (Option<&'d str>, &'d str, &'d str)> {
        self.element.attributes.iter().map(|attribute| {
            let name = &attribute.name;
            let namespace = name.namespace_uri.as_deref();
            (namespace, &*name.local_name, &*attribute.value)
        })
    }

    /// Its child elements.
    pub(super) fn children(self) -> impl Iterator<Item = Node<'d>> {
        let children = self.document.children_iter(self.id);
        children.filter_map(move |id| Self::new(self.document, id))
    }

    /// Its child elements of that name.
    pub(super) fn all(self, namespace: &str, name: &str) -> impl Iterator<Item = Node<'d>> {
        self.children()
            .filter(move |child| child.is(namespace, name))
    }

    /// Its one child element of that name, if it has one.
    pub(super) fn only(self, namespace: &str, name: &str) -> Result<Option<Node<'d>>, Refused> {
        let mut found = self.all(namespace, name);
        let first = found.next();
        if found.next().is_some() {
            return Err(Refused::Repeated);
        }
        Ok(first)
    }

    /// Itself and every element inside it.
    pub(super) fn everything(self) -> impl Iterator<Item = Node<'d>> {
        let document = self.document;
        let inside = document.descendants(self.id).into_iter();
        let inside = inside.filter_map(move |id| Self::new(document, id));
        std::iter::once(self).chain(inside)
    }

    /// Its child elements, when there is nothing else in it but white space.
    pub(super) fn elements_alone(self) -> Option<Vec<Node<'d>>> {
        let alone =
            self.document
                .children_iter(self.id)
                .all(|id| match self.document.node_kind(id) {
                    Some(NodeKind::Element(_)) => true,
                    Some(NodeKind::Text(text)) => text.trim().is_empty(),
                    _ => false,
                });
        alone.then(|| self.children().collect())
    }

    /// Its text, whole; refused when anything but text is in it.
    pub(super) fn text(self) -> Result<String, Refused> {
        let mut whole = String::new();
        for id in self.document.children_iter(self.id) {
            match self.document.node_kind(id) {
                Some(NodeKind::Text(text) | NodeKind::CData(text)) => whole.push_str(text),
                _ => return Err(Refused::Interrupted),
            }
        }
        Ok(whole)
    }

    /// Its text where that is a URI, round which white space means nothing.
    pub(super) fn uri(self) -> Result<String, Refused> {
        self.text().map(|text| text.trim().to_owned())
    }
}
