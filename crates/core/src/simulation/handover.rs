//! What happens between a prefill and a decode replica.
//!
//! Source first (vLLM): the prompt is computed; the router hears of it and chooses a decode replica,
//! which reserves room for the whole prompt and fetches it; the source hears that it may let go. Or the
//! destination says that it has reserved room, and the source pushes.
//! Destination first (SGLang): both replicas are chosen on arrival; the source gets the request when
//! the destination has reserved room, and sends what each pass has computed. Layer by layer (vLLM's
//! other way): see [`super::layerwise`].

use super::Failure;
use super::events::Events;
use super::layerwise::Layers;
use crate::config::{self, Order};
use crate::moves::{Due, Flow};
use crate::record::{NEVER, Reason};
use crate::router::Pick;
use crate::scheduler::{self, Move, Prefilled, Scheduler};
use crate::trace::NONE;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

pub(super) struct Handovers<'a> {
    pub(super) config: &'a config::Handover,
    ports: Vec<config::Port>,
    /// Requests between their arrival and the release of their source.
    under_way: UnderWay,
    /// When two replicas have met, or will have.
    met: HashMap<(u32, u32), i64, FxBuildHasher>,
    /// Prompts that are sent layer by layer, or will be.
    pub(super) layers: HashMap<u32, Layers, FxBuildHasher>,
    /// Requests that have yet to be sent to a decode replica.
    pub(super) to_route: usize,
}

/// One request's.
#[derive(Clone, Debug)]
pub(super) struct Handover {
    prefill: u32,
    decode: u32,
    /// The wait that may time out, if it is on; waits are counted.
    wait: u32,
    waits: bool,
    /// The client has gone: what its source still computes is for nothing.
    given_up: bool,
    /// Its decode replica has it in its queue, or further on.
    joined: bool,
    /// Prompt tokens that the destination has already.
    found: u32,
    /// Prompt tokens from its first on that are computed, and that are sent or on their way.
    computed: u32,
    sent: u32,
    pub(super) done: bool,
    /// The source has let go.
    released: bool,
    /// Transfers so far; the last may be flowing.
    parts: u32,
    pub(super) flowing: bool,
}

/// By request: looked up several times a request, so kept without hashing.
struct UnderWay {
    slot_of: Vec<u32>,
    slots: Vec<Handover>,
    vacant: Vec<u32>,
}

impl UnderWay {
    fn get(&self, request: u32) -> Option<&Handover> {
        self.slots.get(self.slot_of[request as usize] as usize)
    }

    fn get_mut(&mut self, request: u32) -> Option<&mut Handover> {
        self.slots.get_mut(self.slot_of[request as usize] as usize)
    }

    fn insert(&mut self, request: u32, handover: Handover) {
        let slot = self.vacant.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(handover)
        } else {
            self.slots[slot as usize] = handover
        }
        self.slot_of[request as usize] = slot;
    }

    fn remove(&mut self, request: u32) {
        let slot = std::mem::replace(&mut self.slot_of[request as usize], NONE);
        if slot != NONE {
            self.vacant.push(slot);
        }
    }
}

impl<'a> Handovers<'a> {
    pub(super) fn new(run: &'a config::Run, config: &'a config::Handover, requests: usize) -> Self {
        Handovers {
            config,
            ports: run.pools.iter().flat_map(|pool| pool.ports.iter().copied()).collect(),
            under_way: UnderWay { slot_of: vec![NONE; requests], slots: Vec::new(), vacant: Vec::new() },
            met: HashMap::default(),
            layers: HashMap::default(),
            to_route: 0,
        }
    }

    /// The links from one replica to the other.
    fn path(&self, prefill: u32, decode: u32) -> Vec<u32> {
        let mut path = self.config.links.clone();
        if let (Some(from), Some(to)) = (self.ports.get(prefill as usize), self.ports.get(decode as usize)) {
            let nvlinks = [from.nvlink, to.nvlink];
            let near = from.nvlink_domain == to.nvlink_domain && nvlinks.iter().all(Option::is_some);
            path.extend(if near { nvlinks } else { [from.nic, to.nic] }.into_iter().flatten());
        }
        path
    }

    /// A request has gone its way, or will go no further.
    fn forget(&mut self, request: u32) {
        self.under_way.remove(request);
        self.layers.remove(&request);
    }

    fn waits(&self, request: u32, wait: u32) -> bool {
        self.under_way.get(request).is_some_and(|handover| handover.waits && handover.wait == wait)
    }

    /// When a transfer between two replicas can be prepared, asked for now.
    fn meet(&mut self, prefill: u32, decode: u32, now_ps: i64) -> i64 {
        let bootstrap_ps = self.config.bootstrap_ps;
        (*self.met.entry((prefill, decode)).or_insert(now_ps.saturating_add(bootstrap_ps))).max(now_ps)
    }
}

impl Handover {
    fn of(prefill: u32, decode: u32) -> Self {
        Handover {
            prefill,
            decode,
            wait: 0,
            waits: false,
            given_up: false,
            joined: false,
            found: 0,
            computed: 0,
            sent: 0,
            done: false,
            released: false,
            parts: 0,
            flowing: false,
        }
    }
}

impl<'a> Events<'_, 'a, '_> {
    pub(super) fn handovers(&mut self) -> &mut Handovers<'a> {
        self.handovers.as_mut().expect("only runs with hand-overs ask")
    }

    /// Of a request that came to a prefill replica. The core itself never asks for others.
    pub(super) fn handover(&mut self, request: u32) -> &mut Handover {
        self.handovers().under_way.get_mut(request).expect("a hand-over lasts until its source is released")
    }

    pub(super) fn refused_by_either(&self, request: u32) -> Option<Reason> {
        self.s.refusal(&self.pools[0], request).or_else(|| match self.s.refusal(&self.pools[1], request)? {
            Reason::Context => Some(Reason::DecodeContext),
            _ => Some(Reason::DecodePool),
        })
    }

    /// Whether a request that has arrived has so little to compute that it stays with its decode
    /// replica, which is then chosen first.
    pub(super) fn stays(&mut self, request: u32, now_ps: i64) -> Result<bool, Failure> {
        let limit = self.handovers().config.local_prefill_tokens;
        self.handovers().to_route += 1;
        let Some(limit) = limit else { return Ok(false) };
        let pick = self.choose_decode(request, now_ps)?;
        let worker = &self.workers[pick.replica as usize];
        let cached = worker.cached_blocks(request, self.decisions.now(now_ps))
            * scheduler::block_size(self.pools[1].setting.engine);
        if self.s.trace.input_tokens[request as usize] - cached > limit {
            self.handovers().under_way.insert(request, Handover::of(NONE, pick.replica));
            return Ok(false);
        }
        self.s.requests.routed_ps[request as usize] = now_ps;
        self.s.requests.replica[request as usize] = pick.replica;
        self.enter_decode(request, now_ps);
        Ok(true)
    }

    /// A request is with a decode replica's server, which takes its time.
    fn enter_decode(&mut self, request: u32, now_ps: i64) {
        let ready_ps = self.s.run.pools[1].front.ready_ps(self.s.trace, request, now_ps);
        if ready_ps > now_ps { self.moves.at(ready_ps, Due::Joins(request)) } else { self.join_decode(request, now_ps) }
    }

    /// It joins the queue of its decode replica, unless it has waited for too long by now.
    fn join_decode(&mut self, request: u32, now_ps: i64) {
        let decode = self.s.requests.replica[request as usize];
        if self.s.requests.handovers.decode_routed_ps[request as usize] == NEVER {
            self.arrive(decode, request, now_ps); // it stays
        } else if self.is_wanted(request) {
            self.handover(request).joined = true;
            let rank = self.tell_replica(decode, request, now_ps, |scheduler| scheduler.arrive_remote(request, now_ps));
            self.s.note_rank(request, rank);
        }
    }

    fn choose_decode(&mut self, request: u32, now_ps: i64) -> Result<Pick, Failure> {
        let pick = self.pools[1].route(request, self.decisions.now(now_ps), &self.workers).map_err(Failure::Policy)?;
        self.handovers().to_route -= 1;
        Ok(pick.expect("a decode pool's router keeps nothing back: config::check"))
    }

    /// A prefill replica has been chosen.
    pub(super) fn send_to_prefill(&mut self, request: u32, now_ps: i64, pick: Pick) -> Result<(), Failure> {
        let row = request as usize;
        self.s.requests.handovers.prefill_replica[row] = std::mem::replace(&mut self.s.requests.replica[row], NONE);
        if self.handovers().under_way.get(request).is_none() {
            self.handovers().under_way.insert(request, Handover::of(NONE, NONE));
        }
        self.handover(request).prefill = pick.replica;
        match self.handovers().config.order {
            Order::SourceFirst => self.arrive_at_source(request, now_ps),
            Order::DestinationFirst => {
                self.send_to_decode(request, now_ps)?;
                self.wait(request, now_ps);
            }
            Order::Layerwise => {
                self.send_to_decode(request, now_ps)?;
                self.arrive_at_source(request, now_ps);
            }
        }
        Ok(())
    }

    /// Its rank there is not noted: the table's is that of the decode replica.
    fn arrive_at_source(&mut self, request: u32, now_ps: i64) {
        let prefill = self.handover(request).prefill;
        self.tell_replica(prefill, request, now_ps, |scheduler| scheduler.arrive(request, now_ps));
    }

    fn send_to_decode(&mut self, request: u32, now_ps: i64) -> Result<(), Failure> {
        let decode = match self.handover(request).decode {
            NONE => self.choose_decode(request, now_ps)?.replica,
            chosen => chosen,
        };
        self.handover(request).decode = decode;
        let row = request as usize;
        self.s.requests.replica[row] = decode;
        self.s.requests.handovers.decode_routed_ps[row] = now_ps;
        self.enter_decode(request, now_ps);
        Ok(())
    }

    /// From now on a request waits; not for ever, if there is a timeout.
    fn wait(&mut self, request: u32, now_ps: i64) {
        let Some(timeout_ps) = self.handovers().config.timeout_ps else { return };
        let handover = self.handover(request);
        handover.wait += 1;
        handover.waits = true;
        let wait = handover.wait;
        self.moves.until(now_ps.saturating_add(timeout_ps), request, wait);
    }

    /// A prefill replica has computed more of a prompt.
    pub(super) fn computed(&mut self, computed: Prefilled, now_ps: i64) -> Result<(), Failure> {
        let Prefilled { request, tokens, done } = computed;
        let config = self.handovers().config;
        let handover = self.handover(request);
        handover.computed = tokens;
        handover.done = done;
        let (prefill, given_up) = (handover.prefill, handover.given_up);
        if done {
            self.s.requests.handovers.prefilled_ps[request as usize] = now_ps;
            self.pools[0].first_token(request, prefill, now_ps).map_err(Failure::Policy)?;
            self.pools[0].ended(request, prefill, now_ps).map_err(Failure::Policy)?;
        }
        match config.order {
            _ if given_up && done => {
                self.let_go(request, now_ps);
                self.handovers().forget(request);
            }
            _ if given_up => {}
            Order::SourceFirst if done => {
                self.wait(request, now_ps);
                self.moves.after(now_ps, config.control_ps, Due::Prefilled(request));
            }
            Order::SourceFirst => {}
            Order::DestinationFirst => self.send_more(request, now_ps),
            Order::Layerwise => {
                self.wait(request, now_ps);
                self.all_computed(request, now_ps);
            }
        }
        Ok(())
    }

    /// A decode replica has room for what it asks for.
    pub(super) fn asked(&mut self, replica: u32, now_ps: i64) {
        for wanted in std::mem::take(&mut self.s.wanted) {
            let request = wanted.id;
            let config = self.handovers().config;
            self.s.requests.handovers.transferred_tokens[request as usize] = wanted.tokens;
            let prefill = self.handover(request).prefill;
            let met_ps = self.handovers().meet(prefill, replica, now_ps);
            match config.order {
                Order::DestinationFirst => {
                    let prompt = self.s.trace.input_tokens[request as usize];
                    self.handover(request).found = prompt.saturating_sub(wanted.tokens);
                    self.moves.after(met_ps, config.control_ps, Due::Ready(request));
                }
                Order::SourceFirst => {
                    let told_ps = if config.pushes { config.control_ps } else { 0 };
                    self.prepare(request, wanted.tokens, met_ps.saturating_add(told_ps));
                }
                Order::Layerwise => {
                    // All of a prompt is written, in whole blocks, those that the destination has as well.
                    let block = scheduler::block_size(self.pools[1].setting.engine);
                    let tokens = self.s.trace.input_tokens[request as usize].next_multiple_of(block);
                    self.s.requests.handovers.transferred_tokens[request as usize] = tokens;
                    self.moves.after(met_ps, config.control_ps, Due::Ready(request));
                }
            }
        }
    }

    /// What is computed and not sent goes next, in one piece.
    fn send_more(&mut self, request: u32, now_ps: i64) {
        let handover = self.handover(request);
        let (from, to) = (handover.sent.max(handover.found), handover.computed);
        if handover.flowing {
            return;
        }
        if from < to {
            handover.sent = to;
            self.prepare(request, to - from, now_ps);
        } else if handover.done {
            self.all_sent(request, now_ps);
        }
    }

    /// So many tokens of KV are on their way after a while.
    fn prepare(&mut self, request: u32, tokens: u32, now_ps: i64) {
        let done = self.handover(request).done;
        let config = self.handovers().config;
        let mut bytes = u64::from(tokens) * config.bytes_per_token;
        if let Some(tail) = config.tail.filter(|_| done) {
            bytes += tail.bytes(self.s.trace.input_tokens[request as usize]);
        }
        let path = self.path_of(request);
        let start_ps = now_ps.saturating_add(self.ahead_ps(&path));
        self.send_part(request, path, bytes, start_ps);
    }

    /// From when KV can be sent to its first byte.
    pub(super) fn ahead_ps(&mut self, path: &[u32]) -> i64 {
        self.handovers().config.setup_ps.saturating_add(self.moves.latency_ps(path))
    }

    /// The next part of a prompt flows from `start_ps` on.
    pub(super) fn send_part(&mut self, request: u32, path: Vec<u32>, bytes: u64, start_ps: i64) {
        let handover = self.handover(request);
        handover.flowing = true;
        handover.parts += 1;
        let flow = Flow { kind: Move::Handover, replica: handover.decode, id: request, part: handover.parts };
        self.moves.prepare(flow, path, bytes, start_ps);
        if flow.part == 1 {
            self.s.requests.handovers.transfer_start_ps[request as usize] = start_ps;
        }
    }

    pub(super) fn path_of(&mut self, request: u32) -> Vec<u32> {
        let (prefill, decode) = (self.handover(request).prefill, self.handover(request).decode);
        self.handovers().path(prefill, decode)
    }

    fn landed(&mut self, request: u32, now_ps: i64) {
        self.handover(request).flowing = false;
        match self.handovers().config.order {
            Order::Layerwise => self.send_layers(request, now_ps),
            Order::SourceFirst => {
                let config = self.handovers().config;
                self.arrived(request, now_ps);
                if config.pushes {
                    self.release_source(request, now_ps);
                } else {
                    self.moves.after(now_ps, config.control_ps, Due::Release(request));
                }
            }
            Order::DestinationFirst => self.send_more(request, now_ps),
        }
    }

    /// The source has sent all and knows it; the destination hears of it.
    pub(super) fn all_sent(&mut self, request: u32, now_ps: i64) {
        let control_ps = self.handovers().config.control_ps;
        self.let_go(request, now_ps);
        self.moves.after(now_ps, control_ps, Due::Arrived(request));
    }

    fn arrived(&mut self, request: u32, now_ps: i64) {
        let handover = self.handover(request);
        handover.waits = false;
        let decode = handover.decode;
        self.s.requests.handovers.transfer_end_ps[request as usize] = now_ps;
        self.tell_replica(decode, request, now_ps, |scheduler| scheduler.transferred(request, Move::Handover, now_ps));
    }

    /// All is where it is decoded, and the source knows it.
    fn release_source(&mut self, request: u32, now_ps: i64) {
        self.let_go(request, now_ps);
        self.handovers().forget(request);
    }

    /// The source frees what it holds.
    fn let_go(&mut self, request: u32, now_ps: i64) {
        let handover = self.handover(request);
        let prefill = handover.prefill;
        if !std::mem::replace(&mut handover.released, true) {
            self.tell_replica(prefill, request, now_ps, |scheduler| scheduler.release(request, now_ps));
        }
    }

    /// A request has waited for too long, if it still does.
    fn timed_out(&mut self, request: u32, wait: u32, now_ps: i64) -> Result<(), Failure> {
        if !self.handovers().waits(request, wait) {
            return Ok(());
        }
        self.s.refuse(request, Reason::HandoverTimeout, now_ps);
        self.arrivals.ended(request, now_ps, false);
        let handover = self.handover(request);
        handover.waits = false;
        handover.given_up = true;
        let Handover { prefill, decode, joined, done, parts, flowing, .. } = *handover;
        if flowing {
            let flow = Flow { kind: Move::Handover, replica: decode, id: request, part: parts };
            self.moves.give_up(flow, now_ps);
        }
        if joined {
            self.tell_replica(decode, request, now_ps, |scheduler| scheduler.abort(request, now_ps));
        }
        match decode {
            NONE => self.handovers().to_route -= 1,
            _ => self.pools[1].ended(request, decode, now_ps).map_err(Failure::Policy)?,
        }
        if done {
            self.let_go(request, now_ps);
        } else if self.handovers().config.order == Order::DestinationFirst && wait == 1 {
            self.pools[0].ended(request, prefill, now_ps).map_err(Failure::Policy)?; // it never got there
            self.pools[0].may_release(now_ps);
        } else {
            return Ok(()); // until it is computed
        }
        self.handovers().forget(request);
        Ok(())
    }

    /// What is due between replicas now.
    pub(super) fn moved(&mut self, now_ps: i64) -> Result<(), Failure> {
        let Some(due) = self.moves.take() else { return Ok(()) };
        match due {
            Due::Landed(flow) => self.landed(flow.id, now_ps),
            Due::Start(flow) => self.moves.start(flow, now_ps),
            Due::Prefilled(request) if self.is_wanted(request) => self.send_to_decode(request, now_ps)?,
            Due::Ready(request) if self.is_wanted(request) => match self.handovers().config.order {
                Order::Layerwise => self.reserved(request, now_ps),
                _ => {
                    self.wait(request, now_ps);
                    self.arrive_at_source(request, now_ps);
                }
            },
            Due::Arrived(request) if self.is_wanted(request) => {
                self.arrived(request, now_ps);
                self.handovers().forget(request);
            }
            Due::Release(request) if self.is_wanted(request) => self.release_source(request, now_ps),
            Due::Joins(request) => self.join_decode(request, now_ps),
            Due::Timeout(request, wait) => self.timed_out(request, wait, now_ps)?,
            Due::Prefilled(_) | Due::Ready(_) | Due::Arrived(_) | Due::Release(_) => {}
        }
        let Self { moves, handovers, .. } = self;
        if let Some(handovers) = handovers {
            moves.forget(|request, wait| !handovers.waits(request, wait));
        }
        Ok(())
    }

    fn is_wanted(&mut self, request: u32) -> bool {
        self.handovers().under_way.get(request).is_some_and(|handover| !handover.given_up)
    }
}
