//! What is written of a user.

/// A text of a user, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Attribute {
    /// User principal name, as the tenant writes it.
    Upn,
    /// The name that is shown.
    DisplayName,
    /// Address of the mailbox.
    Mail,
    /// Department.
    Department,
    /// Company.
    Company,
    /// Job title.
    JobTitle,
    /// Number of the employee.
    EmployeeId,
    /// Kind of the employee.
    EmployeeType,
    /// `Member` or `Guest`.
    UserType,
    /// How far the invitation of a guest has come.
    ExternalState,
    /// What joins the account to the organisation's own directory.
    ImmutableId,
    /// Account name in the organisation's own directory.
    SamAccountName,
    /// Domain in the organisation's own directory.
    OnPremisesDomain,
    /// Security identifier in the organisation's own directory.
    Sid,
}

impl Attribute {
    /// All of them, in order.
    pub const ALL: [Self; 14] = [
        Self::Upn,
        Self::DisplayName,
        Self::Mail,
        Self::Department,
        Self::Company,
        Self::JobTitle,
        Self::EmployeeId,
        Self::EmployeeType,
        Self::UserType,
        Self::ExternalState,
        Self::ImmutableId,
        Self::SamAccountName,
        Self::OnPremisesDomain,
        Self::Sid,
    ];

    /// Whether many users have the same.
    pub(crate) const fn repeats(self) -> bool {
        matches!(
            self,
            Self::Department
                | Self::Company
                | Self::JobTitle
                | Self::EmployeeType
                | Self::UserType
                | Self::ExternalState
                | Self::OnPremisesDomain
        )
    }
}
