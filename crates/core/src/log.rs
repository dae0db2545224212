//! A run pass by pass, in the form of the recordings of the real scheduler.

pub mod sglang;

use crate::record::NEVER;
use crate::simulation::Outcome;
use crate::trace::Trace;
use serde::ser::{Serialize, Serializer};

/// Passes as the engine's recordings show them.
#[derive(Clone, Debug)]
pub enum Log {
    Vllm(Vec<PassRecord>),
    Sglang(Vec<sglang::PassRecord>),
}

/// One pass of vLLM; requests by row number.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct PassRecord {
    pub t_ps: i64,
    pub dt_ps: i64,
    pub scheduled_at_ps: i64,
    /// Request, tokens scheduled, tokens computed before, drafts.
    pub scheduled: Vec<(u32, u32, u32, u32)>,
    pub free: u32,
    pub free_end: Option<u32>,
    pub running: u32,
    pub waiting: u32,
    pub new: Vec<u32>,
    pub resumed: Vec<u32>,
    pub preempted: Vec<u32>,
    pub finished: Vec<u32>,
    #[serde(serialize_with = "as_map")]
    pub blocks: Vec<(u32, Vec<u32>)>,
    #[serde(serialize_with = "as_map")]
    pub accepted: Vec<(u32, u32)>,
    /// Tokens that reach their client at the end of the pass.
    #[serde(skip)]
    pub emitted: Vec<(u32, u32)>,
    /// Requests that wait for ever: nothing runs, and none of them can be admitted.
    #[serde(skip)]
    pub stuck: Option<Vec<u32>>,
}

impl PassRecord {
    /// A row that decodes: `computed` tokens before it, `drafts` to verify, and what it gives: nothing if
    /// it has ended by then.
    pub fn push_decode(&mut self, request: u32, drafts: u32, computed: u32, given: u32) {
        self.scheduled.push((request, 1 + drafts, computed, drafts));
        if given == 0 {
            return;
        }
        self.emitted.push((request, given));
        if drafts > 0 {
            self.accepted.push((request, given - 1));
        }
    }
}

fn as_map<S: Serializer, V: Serialize>(pairs: &[(u32, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

#[derive(Default, serde::Serialize)]
struct RequestRecord {
    id: u32,
    arrival_ps: Option<i64>,
    first_scheduled_ps: Option<i64>,
    first_token_ps: Option<i64>,
    finish_ps: Option<i64>,
    n_in: u32,
    n_out: u32,
    cached: Option<u32>,
    cached_resume: Vec<u32>,
    preemptions: u32,
    passes: u32,
    output_times: Vec<(i64, u32)>,
}

#[derive(serde::Serialize)]
struct Stuck<'a> {
    t_ps: i64,
    waiting: &'a [u32],
}

#[derive(serde::Serialize)]
struct Records<'a> {
    passes: Vec<&'a PassRecord>,
    requests: Vec<RequestRecord>,
    stuck: Option<Stuck<'a>>,
}

/// The log of a run of one replica, as JSON.
pub fn to_json(trace: &Trace, outcome: &Outcome) -> String {
    match &outcome.log {
        Log::Vllm(log) => vllm_to_json(trace, outcome, log),
        Log::Sglang(log) => sglang::to_json(trace, outcome, log),
    }
}

fn vllm_to_json(trace: &Trace, outcome: &Outcome, log: &[PassRecord]) -> String {
    // What arrives after the engine is stuck is not looked at.
    let end_ps = log.last().filter(|pass| pass.stuck.is_some()).map_or(i64::MAX, |pass| pass.t_ps);
    let some = |time: i64| (time != NEVER).then_some(time);
    let mut requests: Vec<RequestRecord> =
        (0..trace.len()).map(|row| RequestRecord { id: row as u32, ..RequestRecord::default() }).collect();
    for (row, request) in requests.iter_mut().enumerate().filter(|&(row, _)| outcome.requests.arrival_ps[row] <= end_ps)
    {
        *request = RequestRecord {
            id: row as u32,
            arrival_ps: some(outcome.requests.arrival_ps[row]),
            first_scheduled_ps: some(outcome.requests.scheduled_ps[row]),
            first_token_ps: some(outcome.requests.first_token_ps[row]),
            finish_ps: some(outcome.requests.end_ps[row]),
            n_in: trace.input_tokens[row],
            cached: some(outcome.requests.scheduled_ps[row]).map(|_| outcome.requests.cached_tokens[row]),
            preemptions: outcome.requests.preemptions[row],
            ..RequestRecord::default()
        };
    }
    let mut passes = Vec::with_capacity(log.len());
    let mut stuck = None;
    for pass in log {
        if let Some(waiting) = &pass.stuck {
            stuck = Some(Stuck { t_ps: pass.t_ps, waiting });
            continue;
        }
        passes.push(pass);
        for &(request, _, computed, _) in &pass.scheduled {
            requests[request as usize].passes += 1;
            if pass.resumed.contains(&request) {
                requests[request as usize].cached_resume.push(computed);
            }
        }
        if pass.free_end.is_some() {
            for &(request, tokens) in &pass.emitted {
                requests[request as usize].n_out += tokens;
                requests[request as usize].output_times.push((pass.t_ps + pass.dt_ps, tokens));
            }
        }
    }
    let log = Records { passes, requests, stuck };
    serde_json::to_string(&log).expect("numbers, strings and lists")
}
