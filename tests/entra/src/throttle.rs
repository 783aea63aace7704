//! How much a client may ask: resource units, a request a second for Conditional Access, five in ten seconds for logs.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// What requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Users, groups, roles, domains: resource units for each application and tenant.
    Directory,
    /// Conditional Access and named locations: of all applications of a tenant together.
    ConditionalAccess,
    /// Sign-ins and audits: for each application and tenant.
    Logs,
}

/// What was asked so far.
#[derive(Debug)]
pub struct Throttle {
    /// Whether anything is ever too much.
    pub on: bool,
    /// Resource units in ten seconds; by the size of the tenant, if there is no number.
    pub units: Option<f64>,
    buckets: HashMap<[Uuid; 2], Bucket>,
    access: HashMap<Uuid, OffsetDateTime>,
    logs: HashMap<[Uuid; 2], Vec<OffsetDateTime>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            on: true,
            units: None,
            buckets: HashMap::new(),
            access: HashMap::new(),
            logs: HashMap::new(),
        }
    }
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: OffsetDateTime,
}

/// Who asks, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The application.
    pub app: Uuid,
    /// The tenant.
    pub tenant: Uuid,
    /// Users in the tenant.
    pub users: usize,
    /// What is counted.
    pub lane: Lane,
    /// Resource units.
    pub cost: u32,
}

/// What a request is told that was too much.
#[derive(Debug, Clone, PartialEq)]
pub struct TooMuch {
    /// After how many seconds to come back; not said for Conditional Access.
    pub after: Option<u32>,
    /// `x-ms-throttle-information`
    pub information: &'static str,
    /// Part of the message.
    pub category: &'static str,
}

const WINDOW: Duration = Duration::seconds(10);

impl Throttle {
    /// Counts a request. What it has used so far of what it may, as a fraction; or that it is too much.
    pub fn count(&mut self, ask: Ask, now: OffsetDateTime) -> Result<f64, TooMuch> {
        if !self.on {
            return Ok(0.0);
        }
        match ask.lane {
            Lane::Directory => self.directory(ask, now),
            Lane::ConditionalAccess => self.conditional_access(ask.tenant, now),
            Lane::Logs => self.logs(ask, now),
        }
    }

    fn directory(&mut self, ask: Ask, now: OffsetDateTime) -> Result<f64, TooMuch> {
        let (size, category) = match ask.users {
            0..50 => (3500.0, "aadgraph.app.tenant_small"),
            50..=500 => (5000.0, "aadgraph.app.tenant_medium"),
            _ => (8000.0, "aadgraph.app.tenant_large"),
        };
        let size = self.units.unwrap_or(size);
        let full = Bucket {
            left: size,
            at: now,
        };
        let bucket = self.buckets.entry([ask.app, ask.tenant]).or_insert(full);
        let rate = size / WINDOW.as_seconds_f64();
        let since = (now - bucket.at).as_seconds_f64().max(0.0);
        bucket.left = (bucket.left + since * rate).min(size);
        bucket.at = now;
        let cost = f64::from(ask.cost);
        if bucket.left < cost {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few seconds"
            )]
            let after = ((cost - bucket.left) / rate).ceil().max(1.0) as u32;
            return Err(TooMuch {
                after: Some(after),
                information: "ResourceUnitLimitExceeded",
                category,
            });
        }
        bucket.left -= cost;
        Ok(1.0 - bucket.left / size)
    }

    fn conditional_access(&mut self, tenant: Uuid, now: OffsetDateTime) -> Result<f64, TooMuch> {
        let last = self.access.insert(tenant, now);
        match last {
            Some(last) if now - last < Duration::SECOND && now >= last => Err(TooMuch {
                after: None,
                information: "ThrottlingLimitExceeded",
                category: "conditionalaccess.tenant",
            }),
            _ => Ok(0.0),
        }
    }

    fn logs(&mut self, ask: Ask, now: OffsetDateTime) -> Result<f64, TooMuch> {
        let recent = self.logs.entry([ask.app, ask.tenant]).or_default();
        recent.retain(|at| now - *at < WINDOW);
        if recent.len() >= 5 {
            return Err(TooMuch {
                after: Some(10),
                information: "CPULimitExceeded",
                category: "reporting.app.tenant",
            });
        }
        recent.push(now);
        Ok(0.0)
    }
}
