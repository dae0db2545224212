//! Turns of a session: what each repeats of the one before, and how long after its end it comes.

use super::{Content, Request, Rows, WaitFor, late};
use crate::error::Fault;
use crate::trace::NONE;
use crate::workload::{HORIZON_PS, TOKENS_MAX};

/// What a later turn's row means where its content does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Its prompt is the whole one, with what was said before.
    Cumulative,
    /// Its prompt is only what is new; what was said before comes on top.
    Delta,
    /// It is a request of its own, at its own time.
    Separate,
}

impl Turns {
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "cumulative" => Some(Turns::Cumulative),
            "delta" => Some(Turns::Delta),
            "separate" => Some(Turns::Separate),
            _ => None,
        }
    }
}

/// The turn of a session that the next one waits for.
#[derive(Clone, Debug)]
pub struct Turn {
    row: u32,
    /// Of its session.
    number: u32,
    time_ps: Option<i64>,
    elapsed_ps: Option<i64>,
    reasoning_tokens: u32,
}

impl Rows {
    /// Makes this the last turn of its session; returns the one that was.
    pub(super) fn enter_session(&mut self, request: &Request<'_>, row: u32) -> Option<Turn> {
        let Some(session) = request.session.filter(|_| self.options.turns != Some(Turns::Separate)) else {
            self.session_of.push(NONE);
            return None;
        };
        let number = self.sessions.get(session).map_or(self.sessions.len() as u32, |turn| turn.number);
        self.session_of.push(number);
        let turn = Turn {
            row,
            number,
            time_ps: request.time_ps,
            elapsed_ps: request.elapsed_ps,
            reasoning_tokens: request.reasoning_tokens,
        };
        match self.sessions.get_mut(session) {
            Some(last) => Some(std::mem::replace(last, turn)),
            None => {
                self.sessions.insert(session.into(), turn);
                None
            }
        }
    }

    /// Enters the ids of the prompt, and returns how long it is.
    pub(super) fn push_content(
        &mut self,
        request: &Request<'_>,
        content: Content<'_>,
        previous: Option<&Turn>,
    ) -> Result<u32, Fault> {
        let mut input_tokens = request.input_tokens;
        match (content, previous) {
            (Content::Ids(_) | Content::Unknown, Some(turn)) if self.options.turns == Some(Turns::Delta) => {
                self.seen.ids_without_effect += u64::from(matches!(content, Content::Ids(_)));
                input_tokens = self.push_delta(request, turn)?;
            }
            (Content::Ids(ids), Some(turn)) => {
                self.check_repeats(request, ids, turn)?;
                self.push_ids(ids)?;
            }
            (Content::Ids(ids), None) => self.push_ids(ids)?,
            (Content::Unknown, Some(turn)) => {
                self.seen.without_hash_ids += 1;
                self.push_cumulative(request, turn)?;
            }
            (Content::Unknown, None) => {
                self.seen.without_hash_ids += 1;
                self.push_repeating(request, input_tokens, None, 0)?;
            }
            (Content::Kept(blocks), _) => self.push_kept(request, blocks, previous)?,
        }
        self.trace.block_offsets.push(self.trace.block_ids.len() as u64);
        Ok(input_tokens)
    }

    fn push_ids(&mut self, ids: &[u64]) -> Result<(), Fault> {
        self.room_for(ids.len())?;
        let interner = &mut self.interner;
        if self.as_written {
            // Those too large for 32 bits become one that no trace has.
            self.trace.block_ids.extend(ids.iter().map(|&id| u32::try_from(id).unwrap_or(NONE)));
        } else {
            self.trace.block_ids.extend(ids.iter().map(|&id| interner.intern(id)));
        }
        Ok(())
    }

    /// Whether the content shows that the prompt is a whole one: it begins as the turn before does.
    fn check_repeats(&mut self, request: &Request<'_>, ids: &[u64], turn: &Turn) -> Result<(), Fault> {
        if self.options.turns.is_some() || self.as_written {
            return Ok(());
        }
        let before = self.trace.blocks(turn.row as usize)[0];
        if ids.first().is_some_and(|&id| self.interner.intern(id) == before) {
            return Ok(());
        }
        Err(self.ambiguous(request, turn, "does not begin as the turn before"))
    }

    fn ambiguous(&self, request: &Request<'_>, turn: &Turn, why: &str) -> Fault {
        Fault::in_field(
            &self.fields.input,
            format!(
                "found {} for a later turn of session \"{}\" that {why} (line {}): is that the whole prompt, or only \
                 what is new in it? say turns: cumulative, delta, or separate (each row a request of its own)",
                request.input_tokens,
                request.session.unwrap_or_default(),
                self.lines[turn.row as usize],
            ),
        )
    }

    /// Prompt and answer of a turn, as far as the next prompt begins with them.
    fn said(&self, turn: &Turn) -> u32 {
        let row = turn.row as usize;
        // Reasoning comes first in an answer, and is left out of what follows.
        let answer = if turn.reasoning_tokens > 0 { 0 } else { self.trace.output_tokens[row] };
        self.trace.input_tokens[row] + answer
    }

    fn push_cumulative(&mut self, request: &Request<'_>, turn: &Turn) -> Result<(), Fault> {
        if self.options.turns.is_none() {
            return Err(self.ambiguous(request, turn, "has no ids to compare with the turn before"));
        }
        let prompt = self.trace.input_tokens[turn.row as usize];
        let repeated = match request.input_tokens {
            whole if whole >= self.said(turn) => self.said(turn),
            whole if whole >= prompt => prompt,
            _ => {
                self.seen.shortened_turns += 1;
                0
            }
        };
        self.push_repeating(request, request.input_tokens, Some(turn), repeated)
    }

    fn push_delta(&mut self, request: &Request<'_>, turn: &Turn) -> Result<u32, Fault> {
        let row = turn.row as usize;
        let visible = self.trace.output_tokens[row] - turn.reasoning_tokens.min(self.trace.output_tokens[row]);
        let whole = u64::from(self.trace.input_tokens[row]) + u64::from(visible) + u64::from(request.input_tokens);
        if whole > TOKENS_MAX.into() {
            return Err(Fault::in_field(
                &self.fields.input,
                format!("makes a prompt of {whole} tokens with the turns before it; at most {TOKENS_MAX} are possible"),
            ));
        }
        self.push_repeating(request, whole as u32, Some(turn), self.said(turn))?;
        Ok(whole as u32)
    }

    /// Ids for the prompt, and in a session for the answer too: whole blocks of the first
    /// `repeated` tokens are those of `turn`.
    fn push_repeating(
        &mut self,
        request: &Request<'_>,
        input_tokens: u32,
        turn: Option<&Turn>,
        repeated: u32,
    ) -> Result<(), Fault> {
        let in_chain = request.session.is_some() && !matches!(request.wait_for, WaitFor::Only(_));
        let answer = if in_chain && self.options.turns != Some(Turns::Separate) { request.output_tokens } else { 0 };
        let tokens = u64::from(input_tokens) + u64::from(answer);
        let blocks = tokens.div_ceil(self.options.block_tokens.into()) as usize;
        self.room_for(blocks)?;
        let kept = turn.map_or(0, |turn| self.keep(turn, (repeated / self.options.block_tokens) as usize));
        self.push_fresh(blocks - kept);
        Ok(())
    }

    fn push_kept(&mut self, request: &Request<'_>, kept: u32, previous: Option<&Turn>) -> Result<(), Fault> {
        let blocks = request.input_tokens.div_ceil(self.options.block_tokens);
        self.room_for(blocks as usize)?;
        let most = previous.map_or(0, |turn| self.trace.blocks(turn.row as usize).len()).min(blocks as usize);
        if kept as usize > most {
            let turn = if previous.is_some() { "the turn before and this one have" } else { "a first turn has" };
            return Err(Fault::in_field(&self.fields.ids, format!("found {kept}; {turn} {most} blocks to share")));
        }
        if let Some(turn) = previous {
            self.keep(turn, kept as usize);
        }
        self.push_fresh((blocks - kept) as usize);
        Ok(())
    }

    /// Repeats the first `blocks` ids of a turn, or as many as it has.
    fn keep(&mut self, turn: &Turn, blocks: usize) -> usize {
        let (start, end) = (turn.row as usize, turn.row as usize + 1);
        let (start, end) = (self.trace.block_offsets[start] as usize, self.trace.block_offsets[end] as usize);
        let kept = blocks.min(end - start);
        self.trace.block_ids.extend_from_within(start..start + kept);
        kept
    }

    pub(super) fn push_arrival(&mut self, request: &Request<'_>, previous: Option<&Turn>) -> Result<(), Fault> {
        let (after, start_ps, wait_ps) = match previous {
            None => (NONE, 0, self.time_or_delay(request)?),
            Some(turn) => {
                let delay_ps = self.delay(request, turn)?;
                self.seen.later_turns += 1;
                (turn.row, self.earliest_ps[turn.row as usize], delay_ps)
            }
        };
        let wait_ps = self.speedup.divide(wait_ps);
        let earliest_ps = i128::from(start_ps) + wait_ps;
        if earliest_ps > HORIZON_PS.into() {
            return Err(late(&self.fields, previous.is_some() || !request.wait_for.is_empty()));
        }
        self.trace.after.push(after);
        self.trace.arrival_ps.push(wait_ps as i64);
        let is_root = after == NONE && request.wait_for.is_empty();
        let earlier = if self.as_written {
            is_root && earliest_ps < self.latest_ps.into()
        } else {
            self.earliest_ps.last().is_some_and(|&last| earliest_ps < last.into())
        };
        self.seen.out_of_order += u64::from(earlier);
        if is_root {
            self.latest_ps = earliest_ps as i64;
        }
        self.earliest_ps.push(earliest_ps as i64);
        Ok(())
    }

    pub(super) fn own_time(&mut self, request: &Request<'_>) -> Result<i64, Fault> {
        if request.delay_ps.is_some_and(|delay_ps| delay_ps != 0) {
            return Err(Fault::in_field(
                &self.fields.delay,
                "given for a request that waits for no other (a first turn, or no session); leave it out, or give 0",
            ));
        }
        if let (None, WaitFor::Only(_)) = (request.time_ps, request.wait_for) {
            self.seen.roots_without_time += 1; // 0, as Dynamo has it
            return Ok(0);
        }
        request.time_ps.ok_or_else(|| {
            Fault::in_field(
                &self.fields.time,
                "missing; only a later turn with a delay, or a request that waits for others, can do without",
            )
        })
    }

    /// How long after the end of the turn before this one arrives.
    fn delay(&mut self, request: &Request<'_>, turn: &Turn) -> Result<i64, Fault> {
        if let Some(delay_ps) = request.delay_ps {
            self.seen.timestamps_without_effect += u64::from(request.time_ps.is_some());
            return Ok(delay_ps);
        }
        let line = self.lines[turn.row as usize];
        let (Some(time_ps), Some(before_ps)) = (request.time_ps, turn.time_ps) else {
            return Err(Fault::in_field(
                &self.fields.delay,
                format!(
                    "missing, and no difference of times to take instead: \
                     this row or the turn before (line {line}) has none"
                ),
            ));
        };
        if time_ps < before_ps {
            return Err(Fault::in_field(
                &self.fields.time,
                format!("earlier than that of the turn before (line {line}); put a session's turns in order"),
            ));
        }
        self.seen.delays_from_timestamps += 1;
        let delay_ps = time_ps - before_ps - turn.elapsed_ps.unwrap_or(0);
        self.seen.overlapping_turns += u64::from(delay_ps < 0);
        Ok(delay_ps.max(0))
    }
}
