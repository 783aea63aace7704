//! `$filter`: `eq ne gt ge lt le in`, `startsWith endsWith contains`, `and or not`, parentheses, and `any` over a
//! collection of texts.

use std::cmp::Ordering;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::Refusal;

/// What is asked of an item; of a list without a filter, nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Option<Test>);

#[derive(Debug, Clone, PartialEq)]
enum Test {
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Compare(String, Operator, Value),
    In(String, Vec<Value>),
    Call(Function, String, String),
    Any(String, Operator, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    StartsWith,
    EndsWith,
    Contains,
}

/// Deeper nesting is refused.
const DEPTH: usize = 20;

impl Filter {
    /// Of the text, for items that have the properties that `known` says.
    pub fn parse(text: Option<&str>, known: impl Fn(&str) -> bool) -> Result<Self, Refusal> {
        let Some(text) = text else {
            return Ok(Self(None));
        };
        let mut parser = Parser {
            rest: text.trim(),
            known: &known,
        };
        let whole = parser.or(0)?;
        if parser.rest.is_empty() {
            Ok(Self(Some(whole)))
        } else {
            Err(parser.invalid())
        }
    }

    /// Whether an item passes, of which `look` tells the properties.
    pub fn is_true(&self, look: impl Fn(&str) -> Value) -> bool {
        self.0.as_ref().is_none_or(|test| test.is_true(&look))
    }

    /// Whether it needs `ConsistencyLevel: eventual`.
    pub fn is_advanced(&self) -> bool {
        self.0.as_ref().is_some_and(Test::is_advanced)
    }

    /// The ids, when it is nothing but ids with `or` between them.
    pub fn ids(&self) -> Option<Vec<String>> {
        let mut ids = Vec::new();
        self.0.as_ref()?.ids(&mut ids).then_some(ids)
    }
}

impl Test {
    fn is_true(&self, look: &dyn Fn(&str) -> Value) -> bool {
        match self {
            Self::And(left, right) => left.is_true(look) && right.is_true(look),
            Self::Or(left, right) => left.is_true(look) || right.is_true(look),
            Self::Not(test) => !test.is_true(look),
            Self::Compare(path, operator, value) => operator.holds(&look(path), value),
            Self::In(path, values) => {
                let found = look(path);
                values.iter().any(|value| Operator::Eq.holds(&found, value))
            }
            Self::Call(function, path, text) => {
                let found = look(path);
                let found = found.as_str().unwrap_or_default().to_lowercase();
                let text = text.to_lowercase();
                match function {
                    Function::StartsWith => found.starts_with(&text),
                    Function::EndsWith => found.ends_with(&text),
                    Function::Contains => found.contains(&text),
                }
            }
            Self::Any(path, operator, value) => look(path)
                .as_array()
                .is_some_and(|items| items.iter().any(|item| operator.holds(item, value))),
        }
    }

    fn is_advanced(&self) -> bool {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.is_advanced() || right.is_advanced()
            }
            Self::Not(_) => true,
            Self::Compare(_, operator, _) | Self::Any(_, operator, _) => *operator == Operator::Ne,
            Self::In(..) => false,
            Self::Call(function, ..) => *function != Function::StartsWith,
        }
    }

    fn ids(&self, ids: &mut Vec<String>) -> bool {
        match self {
            Self::Or(left, right) => left.ids(ids) && right.ids(ids),
            Self::Compare(path, Operator::Eq, Value::String(id)) if path == "id" => {
                ids.push(id.clone());
                true
            }
            _ => false,
        }
    }
}

impl Operator {
    fn holds(self, found: &Value, wanted: &Value) -> bool {
        let order = match (found, wanted) {
            (Value::String(found), Value::String(wanted)) => match (date(found), date(wanted)) {
                (Some(found), Some(wanted)) => Some(found.cmp(&wanted)),
                _ => Some(found.to_lowercase().cmp(&wanted.to_lowercase())),
            },
            (Value::Number(found), Value::Number(wanted)) => {
                found.as_f64().partial_cmp(&wanted.as_f64())
            }
            (found, wanted) => (found == wanted).then_some(Ordering::Equal),
        };
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Ne => order != Some(Ordering::Equal),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

fn date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

struct Parser<'a> {
    rest: &'a str,
    known: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn or(&mut self, depth: usize) -> Result<Test, Refusal> {
        let mut test = self.and(depth)?;
        while self.word("or") {
            test = Test::Or(Box::new(test), Box::new(self.and(depth)?));
        }
        Ok(test)
    }

    fn and(&mut self, depth: usize) -> Result<Test, Refusal> {
        let mut test = self.single(depth)?;
        while self.word("and") {
            test = Test::And(Box::new(test), Box::new(self.single(depth)?));
        }
        Ok(test)
    }

    fn single(&mut self, depth: usize) -> Result<Test, Refusal> {
        if depth > DEPTH {
            return Err(self.invalid());
        }
        if self.word("not") {
            return Ok(Test::Not(Box::new(self.single(depth + 1)?)));
        }
        if self.sign('(') {
            let test = self.or(depth + 1)?;
            self.expect(')')?;
            return Ok(test);
        }
        let path = self.path()?;
        let function = match path.to_ascii_lowercase().as_str() {
            "startswith" => Some(Function::StartsWith),
            "endswith" => Some(Function::EndsWith),
            "contains" => Some(Function::Contains),
            _ => None,
        };
        if let Some(function) = function {
            self.expect('(')?;
            let path = self.path()?;
            self.check(path)?;
            self.expect(',')?;
            let Value::String(text) = self.literal()? else {
                return Err(self.invalid());
            };
            self.expect(')')?;
            return Ok(Test::Call(function, path.to_owned(), text));
        }
        if let Some(collection) = path.strip_suffix("/any") {
            self.check(collection)?;
            return self.any(collection);
        }
        self.check(path)?;
        if self.word("in") {
            self.expect('(')?;
            let mut values = vec![self.literal()?];
            while self.sign(',') {
                values.push(self.literal()?);
            }
            self.expect(')')?;
            return Ok(Test::In(path.to_owned(), values));
        }
        let operator = self.operator()?;
        Ok(Test::Compare(path.to_owned(), operator, self.literal()?))
    }

    /// `(x:x eq 'text')`
    fn any(&mut self, collection: &str) -> Result<Test, Refusal> {
        self.expect('(')?;
        let variable = self.path()?;
        self.expect(':')?;
        if self.path()? != variable {
            return Err(self.invalid());
        }
        let operator = self.operator()?;
        let value = self.literal()?;
        self.expect(')')?;
        Ok(Test::Any(collection.to_owned(), operator, value))
    }

    fn operator(&mut self) -> Result<Operator, Refusal> {
        let operators = [
            ("eq", Operator::Eq),
            ("ne", Operator::Ne),
            ("gt", Operator::Gt),
            ("ge", Operator::Ge),
            ("lt", Operator::Lt),
            ("le", Operator::Le),
        ];
        let found = operators.into_iter().find(|(name, _)| self.word(name));
        found.map(|(_, found)| found).ok_or_else(|| self.invalid())
    }

    fn literal(&mut self) -> Result<Value, Refusal> {
        if let Some(quoted) = self.rest.strip_prefix('\'') {
            let mut text = String::new();
            let mut rest = quoted;
            loop {
                let end = rest.find('\'').ok_or_else(|| self.invalid())?;
                text.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('\'') {
                    Some(after) => {
                        text.push('\'');
                        rest = after;
                    }
                    None => break,
                }
            }
            self.rest = rest.trim_start();
            return Ok(Value::String(text));
        }
        let end = self.rest.find([' ', ')', ',']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(match word {
            "" => return Err(self.invalid()),
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => match other.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::from(other),
            },
        })
    }

    fn path(&mut self) -> Result<&'a str, Refusal> {
        let name = |c: char| c.is_ascii_alphanumeric() || ['_', '/', '@', '.'].contains(&c);
        let end = self.rest.find(|c| !name(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.invalid());
        }
        let (path, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(path)
    }

    fn check(&self, path: &str) -> Result<(), Refusal> {
        if (self.known)(path) {
            Ok(())
        } else {
            Err(Refusal::bad(format!(
                "Could not find a property named '{path}'."
            )))
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else {
            return false;
        };
        let ends = rest.starts_with([' ', '(']);
        if ends {
            self.rest = rest.trim_start();
        }
        ends
    }

    fn sign(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: char) -> Result<(), Refusal> {
        if self.sign(sign) {
            Ok(())
        } else {
            Err(self.invalid())
        }
    }

    fn invalid(&self) -> Refusal {
        Refusal::bad(format!(
            "Invalid filter clause: syntax error at '{}'.",
            self.rest.chars().take(40).collect::<String>()
        ))
    }
}
