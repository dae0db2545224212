//! A run of SGLang pass by pass, in the form of the recordings of the real scheduler.

use crate::record::NEVER;
use crate::simulation::Outcome;
use crate::trace::Trace;

/// One pass; requests by row number, memory in tokens.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct PassRecord {
    pub t_ps: i64,
    pub dt_ps: i64,
    pub scheduled_at_ps: i64,
    /// E(xtend), D(ecode), M(ixed); "-" if requests were retracted or preempted, but none ran.
    pub kind: &'static str,
    /// Request, tokens computed, tokens computed before.
    pub scheduled: Vec<(u32, u32, u32)>,
    pub waiting: u32,
    pub running: u32,
    pub available: u32,
    pub evictable: u32,
    pub ratio: f64,
    pub retracted: Vec<u32>,
    pub preempted: Vec<u32>,
    pub chunked: Option<u32>,
    pub finished: Vec<u32>,
    pub available_end: Option<u32>,
    pub evictable_end: Option<u32>,
    /// Requests that get a token at the end of the pass.
    #[serde(skip)]
    pub emitted: Vec<u32>,
    /// Requests that wait for ever: nothing runs, and none of them can be admitted.
    #[serde(skip)]
    pub stuck: Option<Vec<u32>>,
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
    retractions: u32,
}

#[derive(serde::Serialize)]
struct Stuck<'a> {
    t_ps: i64,
    live: &'a [u32],
}

#[derive(serde::Serialize)]
struct Records<'a> {
    passes: Vec<&'a PassRecord>,
    requests: Vec<RequestRecord>,
    stuck: Option<Stuck<'a>>,
}

/// The log of a run of one replica, as JSON.
pub(super) fn to_json(trace: &Trace, outcome: &Outcome, log: &[PassRecord]) -> String {
    let some = |time: i64| (time != NEVER).then_some(time);
    let columns = &outcome.requests;
    // What arrives after the engine is stuck is not looked at.
    let end_ps = log.last().filter(|pass| pass.stuck.is_some()).map_or(i64::MAX, |pass| pass.t_ps);
    let seen = |row: usize| columns.arrival_ps[row] <= end_ps;
    let mut requests: Vec<RequestRecord> =
        (0..trace.len()).map(|row| RequestRecord { id: row as u32, ..RequestRecord::default() }).collect();
    for (row, request) in requests.iter_mut().enumerate().filter(|&(row, _)| seen(row)) {
        *request = RequestRecord {
            id: row as u32,
            arrival_ps: some(columns.arrival_ps[row]),
            first_scheduled_ps: some(columns.scheduled_ps[row]),
            first_token_ps: some(columns.first_token_ps[row]),
            finish_ps: some(columns.end_ps[row]),
            n_in: trace.input_tokens[row],
            n_out: 0,
            cached: some(columns.scheduled_ps[row]).map(|_| columns.cached_tokens[row]),
            retractions: columns.preemptions[row],
        };
    }
    for &request in log.iter().filter(|pass| pass.available_end.is_some()).flat_map(|pass| &pass.emitted) {
        requests[request as usize].n_out += 1;
    }
    let stuck = log.last().and_then(|pass| Some(Stuck { t_ps: pass.t_ps, live: pass.stuck.as_ref()? }));
    let passes = log.iter().filter(|pass| pass.stuck.is_none()).collect();
    serde_json::to_string(&Records { passes, requests, stuck }).expect("numbers, strings and lists")
}
