//! What the metrics depend on besides the run.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::InputError;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryOptions {
    /// From the first arrival to where counting begins.
    #[serde(default)]
    pub warmup_ps: i64,
    /// From there to where it ends; none: to the end of the run.
    #[serde(default)]
    pub window_ps: Option<i64>,
    #[serde(default)]
    pub gpus: Option<u64>,
    #[serde(default)]
    pub gpu_price_per_hour: Option<f64>,
    /// Cache blocks of all replicas.
    #[serde(default)]
    pub kv_blocks: Option<u64>,
    #[serde(default)]
    pub slo: Option<ServiceLevel>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceLevel {
    #[serde(default)]
    pub ttft_ms: Option<Limit>,
    #[serde(default)]
    pub tpot_ms: Option<Limit>,
    #[serde(default)]
    pub e2e_ms: Option<Limit>,
    /// The share of requests that must meet the limits on single requests.
    #[serde(default)]
    pub attainment: Option<f64>,
}

/// Milliseconds: for each request, or for statistics of the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    Request(f64),
    Run(BTreeMap<Statistic, f64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    Mean,
    Min,
    Max,
    Std,
    P50,
    P90,
    P95,
    P99,
}

impl Statistic {
    /// In the order in which they are shown.
    pub const ALL: [Statistic; 8] = [
        Statistic::Mean,
        Statistic::Min,
        Statistic::Max,
        Statistic::Std,
        Statistic::P50,
        Statistic::P90,
        Statistic::P95,
        Statistic::P99,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Statistic::Mean => "mean",
            Statistic::Min => "min",
            Statistic::Max => "max",
            Statistic::Std => "std",
            Statistic::P50 => "p50",
            Statistic::P90 => "p90",
            Statistic::P95 => "p95",
            Statistic::P99 => "p99",
        }
    }
}

impl ServiceLevel {
    /// None if no limit is on single requests.
    pub fn wanted_attainment(&self) -> Option<f64> {
        let limits = [&self.ttft_ms, &self.tpot_ms, &self.e2e_ms];
        let limits_requests = limits.iter().any(|limit| matches!(limit, Some(Limit::Request(_))));
        self.attainment.filter(|_| limits_requests)
    }

    fn check(&self) -> Result<(), InputError> {
        let limits = [("slo.ttft_ms", &self.ttft_ms), ("slo.tpot_ms", &self.tpot_ms), ("slo.e2e_ms", &self.e2e_ms)];
        let limits_requests = limits.iter().any(|(_, limit)| matches!(limit, Some(Limit::Request(_))));
        match self.attainment {
            Some(share) if !(share > 0.0 && share <= 1.0) => {
                return Err(InputError::in_field("slo.attainment", format!("{share} is not above 0 and at most 1")));
            }
            None if limits_requests => {
                let message = "missing; what share of requests must meet the limits on each?";
                return Err(InputError::in_field("slo.attainment", message));
            }
            Some(_) if !limits_requests => {
                let message = "has no effect: no limit is on single requests";
                return Err(InputError::in_field("slo.attainment", message));
            }
            _ => {}
        }
        for (field, limit) in limits {
            let positive = match limit {
                None => true,
                Some(Limit::Request(limit)) => *limit > 0.0,
                Some(Limit::Run(limits)) => !limits.is_empty() && limits.values().all(|limit| *limit > 0.0),
            };
            if !positive {
                return Err(InputError::in_field(field, "a limit above 0 is right, or some by statistic"));
            }
        }
        Ok(())
    }
}

impl SummaryOptions {
    /// # Errors
    /// `json` is not such options, or one of them is out of range.
    pub fn from_json(json: &str) -> Result<Self, InputError> {
        let options: SummaryOptions =
            serde_json::from_str(json).map_err(|error| InputError::in_field("metrics", error.to_string()))?;
        let fault = |field: &str, message: &str| Err(InputError::in_field(field, message));
        if options.warmup_ps < 0 {
            return fault("metrics.warmup", "negative; counting begins at the first arrival, or later");
        }
        if options.window_ps.is_some_and(|window_ps| window_ps <= 0) {
            return fault("metrics.window", "not above 0; leave it out to count to the end of the run");
        }
        if options.gpus == Some(0) {
            return fault("gpus", "0; leave it out if unknown");
        }
        if options.gpu_price_per_hour.is_some_and(|price| price < 0.0) {
            return fault("gpu_price_per_hour", "negative");
        }
        if let Some(slo) = &options.slo {
            slo.check()?;
        }
        Ok(options)
    }
}
