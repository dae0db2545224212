//! Every closed form against the loop it replaces.

mod support;

use servetwin_core::clock::Agenda;
use servetwin_core::decode_set::{Burst, DecodeSet, Member, Verify};
use servetwin_core::draws::Draws;
use servetwin_core::gaps::GapList;
use servetwin_core::step_time::{
    Affine, DecodeGrid, Features, Graphs, Line, Measured, PromptGrid, StepTime, Stretch, Tabulated, Timeline,
};
use servetwin_core::worker::Phase;
use support::Dice;

fn affine(dice: &mut Dice) -> Affine {
    Affine {
        base_ps: dice.roll(0, 6_000),
        prefill_token_ps: dice.roll(0, 50),
        work_fps: dice.roll(0, 1 << 22),
        decode_row_ps: dice.roll(0, 90),
        context_ps: dice.roll(0, 7),
        sequence_ps: dice.roll(0, 5),
        draft_token_ps: dice.roll(0, 30),
    }
}

fn step_time(dice: &mut Dice) -> StepTime {
    if dice.chance(2) {
        let terms = (0..dice.roll(0, 4)).map(|_| affine(dice)).collect();
        return StepTime::Affine { host: affine(dice), terms, draft: Affine::default(), measured: None };
    }
    if dice.chance(2) {
        return StepTime::Tabulated(Box::new(tabulated(dice)));
    }
    let segments = dice.roll(1, 6);
    StepTime::Polynomial {
        prefill_fps: [1 << 20, 3 << 20, 500 << 20],
        segment_tokens: dice.roll(1, 300),
        start_ps: (0..segments).map(|_| dice.roll(1, 9_000)).collect(),
        slope_ps: (0..segments).map(|_| dice.roll(0, 40)).collect(),
    }
}

fn knots(dice: &mut Dice, most: i64) -> Vec<i64> {
    let mut knots: Vec<i64> = (0..dice.roll(0, 4)).map(|_| dice.roll(2, most)).chain([1]).collect();
    knots.sort_unstable();
    knots.dedup();
    knots
}

fn line(dice: &mut Dice) -> Line {
    let at = knots(dice, 60);
    let start_ps = at.iter().map(|_| dice.roll(0, 4_000)).collect();
    let slope_fps = at.iter().map(|_| dice.roll(0, 40 << 20)).collect();
    Line { at, start_ps, slope_fps }
}

fn tabulated(dice: &mut Dice) -> Tabulated {
    let (rows, contexts) = (knots(dice, 50), knots(dice, 120));
    let ps = rows.iter().map(|_| contexts.iter().map(|_| dice.roll(0, 9_000)).collect()).collect();
    let tokens = knots(dice, 50);
    let reach: Vec<Vec<i64>> = tokens.iter().map(|_| knots(dice, 90)).collect();
    let prompt_ps = reach.iter().map(|knots| knots.iter().map(|_| dice.roll(0, 9_000)).collect()).collect();
    let graphs = Graphs {
        decode_sizes: if dice.chance(2) { knots(dice, 40).into() } else { Default::default() },
        piecewise_sizes: if dice.chance(2) { knots(dice, 40).into() } else { Default::default() },
        padded: dice.chance(4),
        piecewise_ps: dice.roll(0, 9_000),
        eager_ps: dice.roll(0, 12_000),
    };
    Tabulated {
        host: affine(dice),
        draft: affine(dice),
        graphs,
        tokens: line(dice),
        sequences: line(dice),
        decode: DecodeGrid { rows, contexts, ps },
        prompt: PromptGrid { tokens, reach, ps: prompt_ps },
        mixed: None,
        longest: None,
        measured: Some(Measured {
            tokens: dice.roll(0, 60),
            contexts: knots_like(dice, &[1, 8, 30]),
            rows: vec![1, 8, 30],
            prompts: Vec::new(),
            reach: Vec::new(),
        }),
    }
}

fn knots_like(dice: &mut Dice, knots: &[i64]) -> Vec<i64> {
    knots.iter().map(|_| dice.roll(1, 120)).collect()
}

#[test]
fn passes_within_what_was_measured_are_told_from_the_others() {
    for seed in 0..3_000 {
        let mut dice = Dice::new(seed);
        let model = StepTime::Tabulated(Box::new(tabulated(&mut dice)));
        let (rows, context, count) = (dice.roll(1, 40), dice.roll(1, 4_000), dice.roll(1, 120));
        let is_measured = |pass: i64| model.passes_measured(&Features::decode(rows, context + rows * pass), 1) == 1;
        let measured = (0..count).take_while(|&pass| is_measured(pass)).count() as i64;
        assert_eq!(model.passes_measured(&Features::decode(rows, context), count), measured, "seed {seed}");
        assert!(!(measured..count).any(is_measured), "seed {seed}");
    }
}

#[test]
fn stretches_of_decode_passes_are_their_passes() {
    for seed in 0..3_000 {
        let mut dice = Dice::new(seed);
        let step_time = step_time(&mut dice);
        let (rows, context, count) = (dice.roll(1, 40), dice.roll(1, 2_000), dice.roll(1, 120));
        let mut timeline = Timeline::default();
        step_time.decode_stretches(rows, context, count, &mut timeline);
        let mut end = 0;
        for pass in 0..count {
            assert_eq!(timeline.time(pass), end, "seed {seed}");
            let start = end;
            end += step_time.of(&Features::decode(rows, context + rows * pass));
            // Passes that start before some time within or at the end of this one.
            let time = dice.roll(start + 1, end);
            assert_eq!(timeline.started_before(time), pass + 1, "seed {seed}");
        }
        assert_eq!(timeline.time(count), end);
        assert_eq!(timeline.started_before(end + 5), count);
        let kept = dice.roll(1, count);
        let time = timeline.time(kept);
        timeline.truncate(kept);
        assert_eq!(timeline.time(count), time);
    }
}

#[test]
fn passes_that_verify_drafts_cost_what_each_costs_alone() {
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let step_time = step_time(&mut dice);
        let (rows, mut context, drafts) = (dice.roll(1, 40), dice.roll(1, 2_000), dice.roll(1, 8) as u32);
        let mut time = step_time.growing(Features::verify(rows, context, drafts));
        for _ in 0..50 {
            assert_eq!(time.at(context), step_time.of(&Features::verify(rows, context, drafts)), "seed {seed}");
            context += dice.roll(0, rows * 9);
        }
    }
}

/// Where the sum of a stretch, or only what it is computed from, needs more than 64 bits.
#[test]
fn long_stretches_do_not_overflow() {
    let of = |count: i64, first: i64, step: i64| Timeline { stretches: vec![Stretch { count, first, step }] };
    let long = of(4 << 30, 1 << 20, 0);
    assert_eq!(long.time(4 << 30), 1 << 52);
    assert_eq!(long.started_before((1 << 51) + 1), (1 << 31) + 1);
    let endless = of(3, 1, i64::MAX / 2);
    assert_eq!((endless.time(2), endless.time(3)), (i64::MAX / 2 + 2, i64::MAX));
    assert_eq!(endless.started_before(i64::MAX - 1), 3);
}

#[test]
fn a_decode_set_knows_what_its_rows_need() {
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let block_size = dice.pick(&[1, 2, 4, 7, 16]);
        let mut set = DecodeSet::new(block_size, None, true);
        let mut members: Vec<Member> = Vec::new();
        let k = dice.roll(0, 50) as u64;
        for slot in 0..dice.roll(1, 20) as u32 {
            let finish_at = k + dice.roll(1, 60) as u64;
            let (order, offset) = (u64::from(slot), dice.roll(-40, 90));
            let member = Member { slot, order, offset, finish_at, burst: None, held: 0, joined: 0, floor: None };
            set.insert(member);
            members.push(member);
            if dice.chance(4) {
                let gone = members.swap_remove(dice.roll(0, members.len() as i64 - 1) as usize);
                set.remove(gone);
            }
        }
        let size = i64::from(block_size);
        let due = |k: u64| members.iter().filter(|m| (m.offset + k as i64).rem_euclid(size) == 0).count() as i64;
        assert_eq!(set.len(), members.len());
        assert_eq!(set.context(k), members.iter().map(|m| m.offset + k as i64).sum::<i64>());
        let left_out: Vec<u32> = members.iter().filter(|_| dice.chance(3)).map(|m| m.slot).collect();
        let taking_part = members.iter().filter(|m| !left_out.contains(&m.slot));
        assert_eq!(set.longest(k, &left_out), taking_part.map(|m| m.offset + k as i64).max());
        assert_eq!(set.first_finish(), members.iter().map(|m| m.finish_at).min());
        let (free, wanted) = (dice.roll(0, 60), dice.roll(1, 80));
        let mut taken = 0;
        let mut fitting = 0;
        for passes in 0..wanted {
            assert_eq!(set.due(k + passes as u64).len() as i64, due(k + passes as u64), "seed {seed}");
            taken += due(k + passes as u64);
            assert_eq!(set.demand(k, passes + 1), taken, "seed {seed}");
            if taken <= free {
                fitting = passes + 1;
            }
        }
        if !members.is_empty() {
            assert_eq!(set.passes_within(k, free, wanted), fitting, "seed {seed}");
        }
    }
}

#[test]
fn a_decode_set_knows_what_rows_that_verify_drafts_need() {
    for seed in 0..1_000 {
        let mut dice = Dice::new(seed);
        let (block_size, drafts) = (dice.pick(&[1, 2, 4, 7, 16]), dice.roll(0, 5) as u32);
        let counts: Vec<u32> = (0..7).map(|_| dice.roll(0, 9) as u32).chain([1]).collect();
        let draws = Draws::new(&counts, drafts, seed);
        let (slots, most) = (1 + drafts + dice.roll(0, 4) as u32, dice.pick(&[90, 9_000]));
        let (ahead, unknown) = (dice.chance(2), dice.chance(2));
        let verify = Verify { draws: &draws, drafts, slots, most, ahead };
        let mut set = DecodeSet::new(block_size, Some(verify), false);
        set.set_unknown(unknown && ahead);
        let k = dice.roll(3, 90) as u64;
        let mut rows: Vec<(Member, u64, u32)> = Vec::new();
        for slot in 0..dice.roll(1, 9) as u32 {
            let (place, given, prompt) = (dice.roll(0, 500) as u64, dice.roll(1, 30) as u32, dice.roll(20, 90));
            let burst = Burst::new(&draws, place, given, k);
            let target = given + dice.roll(1, 70) as u32;
            let finish_at = burst.finish_at(target, k);
            let passes = (0..).find(|&passes| burst.given(k + passes) >= i64::from(target)).expect("it ends");
            assert_eq!(finish_at, k + passes);
            let held = ((prompt + i64::from(given) - 1) as u32).min(most).div_ceil(block_size);
            let (order, burst) = (u64::from(slot), Some(burst));
            let joined = k - dice.roll(0, 3) as u64;
            let stored = prompt - 1 + burst.map_or(0, |burst| burst.given(joined));
            let floor = dice.chance(2).then(|| stored + dice.roll(0, i64::from(slots)));
            let member = Member { slot, order, offset: prompt - 1, finish_at, burst, held, joined, floor };
            set.insert(member);
            rows.push((member, place, prompt as u32 - 1 + given));
            if dice.chance(4) {
                let gone = rows.swap_remove(dice.roll(0, rows.len() as i64 - 1) as usize);
                set.remove(gone.0);
            }
        }
        let (wanted, free) = (dice.roll(1, 40), dice.roll(0, 60));
        let mut contexts = Vec::new();
        set.contexts(k + 1, wanted, |context| contexts.push(context));
        let (mut stored, mut held): (Vec<u32>, Vec<u32>) = rows.iter().map(|row| (row.2, row.0.held)).unzip();
        let (mut taken, mut fitting) = (0, 0);
        for pass in 0..wanted {
            let context: u32 = stored.iter().map(|stored| stored + 1 + drafts).sum();
            assert_eq!(contexts[pass as usize], i64::from(context), "seed {seed}");
            assert_eq!(set.context(k + pass as u64 + 1), i64::from(context));
            let behind = u64::from(if pass == 0 { unknown && ahead } else { ahead });
            for (index, (member, place, _)) in rows.iter().enumerate() {
                let known = k + pass as u64 - behind;
                let seen = member.offset + member.burst.expect("it verifies").given(known.max(member.joined));
                let tokens = member.floor.filter(|_| known < member.joined).unwrap_or(seen + i64::from(slots));
                let blocks = (tokens as u32).min(most).div_ceil(block_size).max(held[index]);
                taken += i64::from(blocks - held[index]);
                held[index] = blocks;
                stored[index] += draws.at(place + pass as u64);
            }
            assert_eq!(set.demand(k, pass + 1), taken, "seed {seed}");
            let given: i64 = stored.iter().zip(&rows).map(|(&now, row)| i64::from(now) - i64::from(row.2)).sum();
            assert_eq!(set.given(k, pass + 1), given);
            if taken <= free {
                fitting = pass + 1;
            }
        }
        let within = set.passes_within(k, free, wanted);
        assert!(within == fitting || (within < fitting && within >= 8), "seed {seed}: {within}, {fitting}");
        assert_eq!(set.take(k, wanted), taken);
        assert!(rows.iter().zip(&held).all(|(row, &held)| set.held(row.0.slot, 0, block_size) == held));
        set.set_unknown(ahead && (wanted > 1 || unknown));
        assert_eq!(set.demand(k + wanted as u64 - 1, 1), 0);
    }
}

#[test]
fn a_list_of_gaps_is_the_same_however_it_is_cut() {
    for seed in 0..2_000 {
        let mut dice = Dice::new(seed);
        let limit = dice.pick(&[2, 5, 1_000]);
        let (mut whole, mut single) = (GapList::new(limit), GapList::new(limit));
        let mut total = 0;
        for _ in 0..dice.roll(1, 12) {
            let (first, step) = (dice.roll(1, 20_000), dice.pick(&[0, 1, 7]));
            let (count, weight) = (dice.roll(1, 9), dice.roll(0, 2));
            whole.push(first, step, count, weight);
            for index in 0..count {
                single.push_one(first + step * index, weight);
            }
            total += count * weight;
        }
        let (whole, single) = (whole.finish(), single.finish());
        assert_eq!(whole, single, "seed {seed}");
        assert_eq!(whole.iter().map(|gaps| gaps.count * gaps.weight).sum::<i64>(), total);
    }
}

#[test]
fn the_agenda_gives_the_earliest_event() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let workers = dice.roll(1, 9) as u32;
        let mut agenda = Agenda::new(workers);
        let mut next = vec![None; workers as usize];
        for _ in 0..60 {
            let worker = dice.roll(0, i64::from(workers) - 1) as u32;
            let phase = dice.pick(&[Phase::Results, Phase::Decision]);
            next[worker as usize] = (!dice.chance(4)).then(|| (dice.roll(0, 12), phase));
            agenda.set(worker, next[worker as usize]);
            let earliest = next.iter().enumerate().filter_map(|(w, n)| n.map(|n| (n, w as u32))).min();
            assert_eq!(agenda.first(), earliest, "seed {seed}");
        }
    }
}
