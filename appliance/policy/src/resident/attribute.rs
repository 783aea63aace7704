//! What rules may ask of what is written of a user.

use weir_directory::{Attribute, UserRef};

/// Something that is written of a user, by its name in rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserAttribute {
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
    /// `member` or `guest`.
    UserType,
    /// How far the invitation of a guest has come.
    ExternalState,
    /// Domain in the organisation's own directory.
    OnPremisesDomain,
    /// `true` or `false`: whether the account may sign in.
    Enabled,
}

impl UserAttribute {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Department,
        Self::Company,
        Self::JobTitle,
        Self::EmployeeId,
        Self::EmployeeType,
        Self::UserType,
        Self::ExternalState,
        Self::OnPremisesDomain,
        Self::Enabled,
    ];

    /// The word used in rules and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Department => "department",
            Self::Company => "company",
            Self::JobTitle => "job_title",
            Self::EmployeeId => "employee_id",
            Self::EmployeeType => "employee_type",
            Self::UserType => "user_type",
            Self::ExternalState => "external_state",
            Self::OnPremisesDomain => "on_premises_domain",
            Self::Enabled => "enabled",
        }
    }

    /// The only values that it has, where they are few.
    pub const fn values(self) -> Option<&'static [&'static str]> {
        match self {
            Self::UserType => Some(&["member", "guest"]),
            Self::Enabled => Some(&["true", "false"]),
            _ => None,
        }
    }

    /// Whether the tenant may not say it although it is so: nothing written is then no answer.
    pub const fn may_be_unsaid(self) -> bool {
        self.values().is_some()
    }

    /// What is written of a user; nothing where nothing is.
    pub fn of(self, user: UserRef<'_>) -> Option<&str> {
        let attribute = match self {
            Self::Department => Attribute::Department,
            Self::Company => Attribute::Company,
            Self::JobTitle => Attribute::JobTitle,
            Self::EmployeeId => Attribute::EmployeeId,
            Self::EmployeeType => Attribute::EmployeeType,
            Self::UserType => Attribute::UserType,
            Self::ExternalState => Attribute::ExternalState,
            Self::OnPremisesDomain => Attribute::OnPremisesDomain,
            Self::Enabled => {
                return user.enabled().map(|it| if it { "true" } else { "false" });
            }
        };
        user.attribute(attribute)
    }
}
