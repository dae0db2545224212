use super::*;
use crate::workload::Labels;

fn fields() -> Fields {
    let name = |name: &str| name.to_owned();
    Fields {
        time: name("time"),
        delay: name("delay"),
        input: name("input"),
        output: name("output"),
        ids: name("ids"),
        name: name("name"),
    }
}

fn rows(turns: Option<Turns>) -> Rows {
    Rows::new(&Options { block_tokens: 4, turns, ..Options::default() }, fields()).unwrap()
}

fn turn(time_ps: i64, input_tokens: u32, output_tokens: u32) -> Request<'static> {
    Request { time_ps: Some(time_ps), session: Some("s"), input_tokens, output_tokens, ..Request::default() }
}

fn push(rows: &mut Rows, request: &Request<'_>, content: Content<'_>) -> Result<(), Fault> {
    let line = rows.trace.len() as u64 + 1;
    rows.push(request, content, line)
}

#[test]
fn cumulative_prompts_repeat_prompt_and_answer() {
    let mut rows = rows(Some(Turns::Cumulative));
    for request in [turn(0, 6, 6), turn(10, 20, 3), turn(30, 21, 4), turn(40, 10, 1)] {
        push(&mut rows, &request, Content::Unknown).unwrap();
    }
    assert_eq!(rows.trace.input_tokens, [6, 20, 21, 10]);
    assert_eq!(rows.trace.after, [NONE, 0, 1, 2]);
    assert_eq!(rows.trace.blocks(0), [0, 1, 2]);
    assert_eq!(rows.trace.blocks(1), [0, 1, 2, 3, 4, 5]);
    assert_eq!(rows.trace.blocks(2), [0, 1, 2, 3, 4, 6, 7], "shorter than prompt and answer: the prompt's blocks");
    assert_eq!(rows.trace.blocks(3), [8, 9, 10], "shorter than the prompt: nothing");
    assert_eq!(rows.seen.shortened_turns, 1);
}

#[test]
fn deltas_come_on_top() {
    let mut rows = rows(Some(Turns::Delta));
    push(&mut rows, &turn(0, 6, 6), Content::Ids(&[70, 71])).unwrap();
    push(&mut rows, &turn(10, 5, 3), Content::Ids(&[80, 81])).unwrap();
    push(&mut rows, &Request { reasoning_tokens: 2, ..turn(20, 1, 3) }, Content::Unknown).unwrap();
    push(&mut rows, &turn(30, 1, 1), Content::Unknown).unwrap();
    assert_eq!(rows.trace.input_tokens, [6, 17, 21, 23]);
    assert_eq!(rows.trace.blocks(0), [0, 1]);
    assert_eq!(rows.trace.blocks(1)[..2], [0, 1], "as far as the first turn has ids");
    assert_eq!(rows.trace.blocks(2)[..5], rows.trace.blocks(1)[..5]);
    assert_eq!(rows.trace.blocks(3)[..5], rows.trace.blocks(2)[..5], "no block of what reasoning came before");
    assert_ne!(rows.trace.blocks(3)[5], rows.trace.blocks(2)[5]);
    assert_eq!(rows.seen.ids_without_effect, 1);
    let fault = push(&mut rows, &turn(40, TOKENS_MAX, 1), Content::Unknown).unwrap_err();
    assert_eq!(fault.field.as_deref(), Some("input"));
}

#[test]
fn separate_rows_are_no_turns() {
    let mut rows = rows(Some(Turns::Separate));
    for request in [turn(5, 6, 6), turn(0, 20, 3)] {
        push(&mut rows, &request, Content::Unknown).unwrap();
    }
    assert_eq!(rows.trace.after, [NONE, NONE]);
    assert_eq!(rows.trace.block_ids, [0, 1, 2, 3, 4, 5, 6]);
    let read = rows.finish("t", String::new(), Labels::default(), |_| serde_json::json!({})).unwrap();
    assert_eq!(read.trace.arrival_ps, [0, 5]);
    assert_eq!(read.trace.input_tokens, [20, 6]);
}

#[test]
fn turns_that_could_mean_two_things() {
    for content in [Content::Unknown, Content::Ids(&[9, 8])] {
        let mut rows = rows(None);
        push(&mut rows, &turn(0, 6, 6), Content::Ids(&[7, 8])).unwrap();
        push(&mut rows, &turn(1, 6, 6), Content::Ids(&[7, 9])).unwrap();
        let fault = push(&mut rows, &turn(2, 6, 6), content).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("input"));
        assert!(fault.message.contains("cumulative, delta, or separate"), "{}", fault.message);
    }
}

#[test]
fn kept_blocks_are_those_of_the_turn_before() {
    let mut rows = rows(None);
    push(&mut rows, &turn(0, 9, 1), Content::Kept(0)).unwrap();
    push(&mut rows, &turn(1, 12, 1), Content::Kept(2)).unwrap();
    assert_eq!(rows.trace.block_ids, [0, 1, 2, 0, 1, 3]);
    assert!(push(&mut rows, &turn(2, 40, 1), Content::Kept(4)).unwrap_err().message.contains("3 blocks to share"));
    let alone = Request { session: Some("other"), ..turn(2, 40, 1) };
    assert!(push(&mut rows, &alone, Content::Kept(1)).unwrap_err().message.contains("a first turn has 0"));
}

#[test]
fn delays_are_what_is_left_of_the_time_between() {
    let mut rows = rows(Some(Turns::Cumulative));
    let elapsed = |time_ps, elapsed_ps| Request { elapsed_ps: Some(elapsed_ps), ..turn(time_ps, 1, 1) };
    for request in [elapsed(0, 8), elapsed(10, 5), elapsed(12, 1)] {
        push(&mut rows, &request, Content::Unknown).unwrap();
    }
    assert_eq!(rows.trace.arrival_ps, [0, 2, 0]);
    assert_eq!((rows.seen.delays_from_timestamps, rows.seen.overlapping_turns), (2, 1));
}

#[test]
fn a_row_s_own_limit() {
    let mut rows = rows(None);
    let limited = |limit| Request { max_output_tokens: Some(limit), session: None, ..turn(0, 1, 5) };
    push(&mut rows, &limited(9), Content::Unknown).unwrap();
    assert_eq!(rows.trace.max_output_tokens, [9]);
    assert_eq!(push(&mut rows, &limited(4), Content::Unknown).unwrap_err().field.as_deref(), Some("output"));
}
