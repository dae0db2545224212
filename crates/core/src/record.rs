//! What a run leaves behind: one row a request, gaps between tokens, a time series.

/// A time that never came.
pub const NEVER: i64 = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Completed = 0,
    Rejected = 1,
    Unfinished = 2,
}

/// Why a request did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    None = 0,
    /// Prompt and output limit exceed the model's context.
    Context = 1,
    /// The request alone needs more blocks than there are.
    Pool = 2,
    /// Without chunked prefill, a prompt must fit one pass.
    Budget = 3,
    /// The worker stopped making progress.
    Stalled = 4,
    /// The request it waits for did not complete.
    Predecessor = 5,
    /// Closed loop: no user came free to send it.
    NeverSent = 6,
    /// The router kept it back to the end.
    Held = 7,
    /// A decode replica never has room for its prompt, or for its prompt and output.
    DecodePool = 8,
    /// Its prompt and output limit exceed the context of the decode replicas.
    DecodeContext = 9,
    /// Its hand-over took too long.
    HandoverTimeout = 10,
    /// SGLang aborts a request whose next token finds no room, even alone in its batch.
    OutOfMemory = 11,
}

/// One entry a request in every column; picoseconds, tokens.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    pub arrival_ps: Vec<i64>,
    pub routed_ps: Vec<i64>,
    pub scheduled_ps: Vec<i64>,
    pub first_token_ps: Vec<i64>,
    pub last_token_ps: Vec<i64>,
    pub end_ps: Vec<i64>,
    pub replica: Vec<u32>,
    /// The data rank of its replica; empty where all have one.
    pub rank: Vec<u32>,
    pub output_tokens: Vec<u32>,
    /// Prompt tokens that need not be computed when it is first admitted, from wherever they come.
    pub cached_tokens: Vec<u32>,
    pub loaded: Loaded,
    pub preemptions: Vec<u32>,
    /// From the last token before a preemption to the next one. Empty where no request with a token was preempted.
    pub preempted_ps: Vec<i64>,
    /// Blocks that were reserved for it, by its limit, and that it never took.
    pub unused_blocks: Vec<u32>,
    pub status: Vec<u8>,
    pub reason: Vec<u8>,
    /// Why it was sent where it was: an index into the router's reasons, or the greatest number.
    pub route_reason: Vec<u32>,
    /// Prompt tokens its replica was believed to have cached; the greatest number if the router did not ask.
    pub route_overlap_tokens: Vec<u32>,
    /// Empty where prompts and outputs have one replica.
    pub handovers: Handovers,
}

/// How each prompt came to the replica that decodes it: [`NEVER`] and the greatest number where it
/// did not. `replica` is then the one that decodes; the rest of [`Requests`] about routing is of the
/// prefill pool.
#[derive(Clone, Debug, Default)]
pub struct Handovers {
    pub prefill_replica: Vec<u32>,
    /// Its prompt was computed.
    pub prefilled_ps: Vec<i64>,
    /// It was sent to its decode replica.
    pub decode_routed_ps: Vec<i64>,
    /// Its first byte was on its way.
    pub transfer_start_ps: Vec<i64>,
    /// The decode replica heard that it had all of it.
    pub transfer_end_ps: Vec<i64>,
    pub transferred_tokens: Vec<u32>,
}

impl Handovers {
    pub fn new(count: usize) -> Self {
        Handovers {
            prefill_replica: vec![u32::MAX; count],
            prefilled_ps: vec![NEVER; count],
            decode_routed_ps: vec![NEVER; count],
            transfer_start_ps: vec![NEVER; count],
            transfer_end_ps: vec![NEVER; count],
            transferred_tokens: vec![0; count],
        }
    }
}

impl Requests {
    pub fn new(count: usize) -> Self {
        Requests {
            arrival_ps: vec![NEVER; count],
            routed_ps: vec![NEVER; count],
            scheduled_ps: vec![NEVER; count],
            first_token_ps: vec![NEVER; count],
            last_token_ps: vec![NEVER; count],
            end_ps: vec![NEVER; count],
            replica: vec![u32::MAX; count],
            rank: Vec::new(),
            output_tokens: vec![0; count],
            cached_tokens: vec![0; count],
            loaded: Loaded::default(),
            preemptions: vec![0; count],
            preempted_ps: Vec::new(),
            unused_blocks: vec![0; count],
            status: vec![Status::Unfinished as u8; count],
            reason: vec![Reason::None as u8; count],
            route_reason: vec![u32::MAX; count],
            route_overlap_tokens: vec![u32::MAX; count],
            handovers: Handovers::default(),
        }
    }
}

impl Requests {
    /// A request has its next token again, so much later than the one before.
    pub fn resumed(&mut self, request: usize, gap_ps: i64) {
        if self.preempted_ps.is_empty() {
            self.preempted_ps = vec![0; self.arrival_ps.len()];
        }
        self.preempted_ps[request] += gap_ps;
    }
}

/// Those of the cached tokens that were loaded from below the GPU's memory, by where they were. Empty
/// where nothing is kept there.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub host: Vec<u32>,
    pub disk: Vec<u32>,
    pub shared: Vec<u32>,
}

/// Gaps between tokens: `count` gaps of `start_ps`, `start_ps + step_ps`, ..., each of `weight` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    pub start_ps: i64,
    pub step_ps: i64,
    pub count: i64,
    pub weight: i64,
}

/// What speculation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speculated {
    /// Verified drafts, by request and pass.
    pub verifications: u64,
    pub drafts: u64,
    /// Drafts the model agreed with, whether or not the request still wanted them.
    pub accepted: u64,
}

/// Time that passes took, and of it what lies beyond what the step time was measured over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassTime {
    pub all_ps: i128,
    pub extrapolated_ps: i128,
}

impl PassTime {
    pub fn new(all_ps: i64, extrapolated_ps: i64) -> Self {
        PassTime { all_ps: i128::from(all_ps), extrapolated_ps: i128::from(extrapolated_ps) }
    }

    pub fn add(&mut self, other: PassTime) {
        self.all_ps += other.all_ps;
        self.extrapolated_ps += other.extrapolated_ps;
    }
}

/// Time that data ranks in step, or the stages of a pipeline, had in all while passes were under way, and of it what
/// they stood idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleTime {
    pub all_ps: i128,
    pub idle_ps: i128,
}

impl std::ops::AddAssign for IdleTime {
    fn add_assign(&mut self, other: IdleTime) {
        self.all_ps += other.all_ps;
        self.idle_ps += other.idle_ps;
    }
}

impl std::iter::Sum for IdleTime {
    fn sum<I: Iterator<Item = IdleTime>>(times: I) -> Self {
        times.fold(IdleTime::default(), |mut sum, time| {
            sum += time;
            sum
        })
    }
}

impl Speculated {
    pub fn add(&mut self, verifications: u64, drafts: u64, accepted: u64) {
        self.verifications += verifications;
        self.drafts += drafts;
        self.accepted += accepted;
    }
}

impl std::ops::AddAssign for Speculated {
    fn add_assign(&mut self, other: Speculated) {
        self.add(other.verifications, other.drafts, other.accepted);
    }
}

/// What keeps the first request that waits out of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Holdup {
    /// None waits.
    #[default]
    None = 0,
    /// The batch has as many requests as it may.
    Rows = 1,
    /// The cache has no room for it.
    Cache = 2,
    /// The pass has no tokens left for it: prompts before it are being computed.
    Tokens = 3,
    /// Its KV is on its way.
    Transfer = 4,
}

/// The state of replicas at points in time, all events of that time included.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub time_ps: Vec<i64>,
    pub replica: Vec<u32>,
    pub running: Vec<u32>,
    pub waiting: Vec<u32>,
    pub used_blocks: Vec<u32>,
    /// [`Holdup`]; of several data ranks, that of the first with a request that waits.
    pub holdup: Vec<u8>,
}

impl Series {
    /// Keeps every other point, the first among them.
    pub fn thin(&mut self) {
        fn every_other<T>(column: &mut Vec<T>) {
            let mut index = 0;
            column.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        every_other(&mut self.time_ps);
        every_other(&mut self.replica);
        every_other(&mut self.running);
        every_other(&mut self.waiting);
        every_other(&mut self.used_blocks);
        every_other(&mut self.holdup);
    }

    pub fn append(&mut self, mut other: Series) {
        self.time_ps.append(&mut other.time_ps);
        self.replica.append(&mut other.replica);
        self.running.append(&mut other.running);
        self.waiting.append(&mut other.waiting);
        self.used_blocks.append(&mut other.used_blocks);
        self.holdup.append(&mut other.holdup);
    }
}
