//! Rules that benches judge by.

use std::collections::BTreeMap;

use weir_policy::{
    PolicySpec, Rate, RuleSetName, RuleSpec, ThenSpec, Values, WhenSpec, WindowsLogonSetting,
};

/// The default rules for Office 365 behind these of an administrator.
pub fn behind(rules: Vec<RuleSpec>) -> PolicySpec {
    PolicySpec {
        service: "sts".into(),
        profile: "adfs".into(),
        rule_set: RuleSetName::Office365Strict,
        outlook: None,
        windows_logon: WindowsLogonSetting::Block,
        windows_logon_rate: Rate::default(),
        reverse_proxy: Some("https://sts-corp-example.proxy.example{query}".into()),
        rules,
        switched_off: Vec::new(),
        applications: BTreeMap::default(),
        locations: BTreeMap::default(),
        claims: Vec::new(),
        claims_any_case: false,
        decide_at_token: false,
    }
}

/// A rule that blocks one flow for one class.
pub fn block(number: usize, flow: &str, class: &str) -> RuleSpec {
    let one = |value: &str| Values::One(value.to_owned());
    RuleSpec {
        name: format!("rule-{number}"),
        when: WhenSpec {
            flow: one(flow),
            class: one(class),
            ..WhenSpec::default()
        },
        then: ThenSpec {
            decision: "block".into(),
            reason: None,
            target: None,
            within: None,
            grant: None,
        },
    }
}
