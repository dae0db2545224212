//! Random traces, mostly sensible: text of Mooncake's, and columns as readers outside the core make them.

use servetwin_core::mooncake;
use servetwin_core::random::draw;
use servetwin_core::rows::{Fields, Options, Turns};
use servetwin_core::table::{MISSING_PS, Table, assemble};
use servetwin_core::trace::NONE;
use servetwin_core::workload::{Classes, Names, check};

/// What became of so many inputs.
#[derive(Default)]
pub struct Outcomes {
    pub read: u64,
    pub refused: u64,
}

/// Numbers for one input, one after the other.
struct Draw {
    seed: u64,
    at: u64,
}

impl Draw {
    fn below(&mut self, below: u64) -> u64 {
        self.at += 1;
        draw(self.seed, &[self.at]) % below
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Reads `inputs` random traces from `seed` on.
///
/// # Panics
/// One is neither read as a sound trace nor refused in words.
pub fn run(seed: u64, inputs: u64) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for input in 0..inputs {
        let mut draw = Draw { seed: draw(seed, &[input]), at: 0 };
        let options = options(&mut draw);
        let result = if draw.one_in(2) {
            mooncake::read(&text(&mut draw)[..], "fuzz", &options)
        } else {
            let (table, as_written) = (table(&mut draw), draw.one_in(4));
            assemble(&table, &options, fields(), "fuzz", String::new(), serde_json::Map::new(), as_written)
        };
        match result {
            Ok(workload) => {
                check(&workload.trace).unwrap_or_else(|error| panic!("seed {seed}, input {input}: {error}"));
                outcomes.read += 1;
            }
            Err(error) => {
                assert!(!error.message.is_empty(), "seed {seed}, input {input}: refused in silence");
                outcomes.refused += 1;
            }
        }
    }
    outcomes
}

fn options(draw: &mut Draw) -> Options {
    let mut options = Options {
        block_tokens: draw.of(&[4, 4, 4, 4, 16, 512]),
        limit: draw.of(&[None, None, None, Some(2)]),
        speedup: draw.of(&[1.0, 1.0, 2.5, 0.001]),
        max_output_tokens: draw.of(&[None, None, None, Some(40)]),
        turns: draw.of(&[None, Some(Turns::Cumulative), Some(Turns::Delta), Some(Turns::Separate)]),
    };
    match draw.below(60) {
        0 => options.block_tokens = 0,
        1 => options.limit = Some(0),
        2 => options.speedup = f64::NAN,
        3 => options.max_output_tokens = Some(u32::MAX),
        _ => {}
    }
    options
}

fn number(draw: &mut Draw) -> &'static str {
    const ODD: [&str; 14] = [
        "null",
        "-1",
        "1.5",
        "1e3",
        "1e400",
        "-0.0",
        "\"7\"",
        "[]",
        "{}",
        "true",
        "NaN",
        "99999999999999999999",
        "007",
        "8640000000",
    ];
    const PLAIN: [&str; 8] = ["0", "1", "4", "5", "8", "9", "12", "40"];
    if draw.one_in(40) { draw.of(&ODD) } else { draw.of(&PLAIN) }
}

fn text(draw: &mut Draw) -> Vec<u8> {
    let mut text = String::new();
    for row in 0..draw.below(6) {
        text += "{";
        text += &format!("\"timestamp\": {}", if draw.one_in(20) { number(draw).to_owned() } else { row.to_string() });
        let input = draw.below(40);
        text += &format!(
            ", \"input_length\": {}",
            if draw.one_in(30) { number(draw).to_owned() } else { input.to_string() }
        );
        text += &format!(", \"output_length\":{}", number(draw));
        if draw.one_in(2) {
            let ids: Vec<String> = (0..input.div_ceil(4) + u64::from(draw.one_in(20)))
                .map(|at| if draw.one_in(3) { draw.below(4).to_string() } else { at.to_string() })
                .collect();
            text += &format!(", \"hash_ids\": [{}]", ids.join(", "));
        }
        for (name, often) in [("session_id", 2), ("delay", 6), ("priority", 6), ("request_id", 6), ("policy_class", 20)]
        {
            if draw.one_in(often) {
                text += &format!(", \"{name}\": {}", number(draw));
            }
        }
        text += draw.of(&["}\n", "}\n", "}\n", "}\r\n", " }\n\n", "}", ",}\n"]);
    }
    let mut bytes = text.into_bytes();
    while draw.one_in(3) && !bytes.is_empty() {
        let at = draw.below(bytes.len() as u64) as usize;
        match draw.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = draw.below(256) as u8,
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, draw.of(b"{}[],:\"\\-.e0 \n\xff")),
        }
    }
    bytes
}

fn fields() -> Fields {
    let [time, delay, input, output, ids, name] =
        ["time", "delay", "input", "output", "ids", "name"].map(str::to_owned);
    Fields { time, delay, input, output, ids, name }
}

fn times(draw: &mut Draw, rows: u64) -> Vec<i64> {
    (0..rows)
        .map(|row| match draw.below(30) {
            0 => MISSING_PS,
            1 => draw.of(&[-1, i64::MAX, i64::MAX / 2, 8_640_000_000_000_000_000, 1 << 62]),
            2 => 0,
            _ => row as i64 * 10,
        })
        .collect()
}

fn counts(draw: &mut Draw, rows: u64, below: u64) -> Vec<u32> {
    (0..rows)
        .map(|_| {
            if draw.one_in(40) {
                draw.of(&[0, 1_000_000_000, 1_000_000_001, u32::MAX])
            } else {
                draw.below(below) as u32
            }
        })
        .collect()
}

fn table(draw: &mut Draw) -> Table {
    let rows = draw.below(7);
    let mut table = Table {
        time_ps: times(draw, rows),
        input_tokens: counts(draw, rows, 40),
        output_tokens: counts(draw, rows, 40),
        ..Table::default()
    };
    if draw.one_in(2) {
        table.session = (0..rows).map(|_| draw.of(&[0, 0, 1, 2, NONE])).collect();
        table.session_names = ["a", "b", "c"][..draw.of(&[2, 3, 3, 3])].iter().copied().collect();
    }
    if draw.one_in(3) {
        table.delay_ps = times(draw, rows);
    }
    if draw.one_in(3) {
        table.elapsed_ps = times(draw, rows);
    }
    if draw.one_in(4) {
        table.reasoning_tokens = counts(draw, rows, 40);
    }
    if draw.one_in(4) {
        table.max_output_tokens = counts(draw, rows, 200);
    }
    if draw.one_in(8) {
        table.request_ids = Some((0..rows).map(|_| draw.of(&["a", "b", "c", "d", "e", ""])).collect::<Names>());
    }
    if draw.one_in(8) {
        let of = (0..rows + u64::from(draw.one_in(8))).map(|_| draw.of(&[0, 0, 0, 1])).collect();
        table.classes =
            Some(Classes { names: ["chat", "agents"][..draw.of(&[1, 2, 2])].iter().copied().collect(), of });
    }
    if draw.one_in(3) {
        contents(draw, &mut table);
    } else if draw.one_in(4) {
        table.kept_blocks = counts(draw, rows, 4);
    }
    // Nothing longer than a page: what is refused for its length is refused before it is made.
    table.input_tokens.iter_mut().chain(&mut table.output_tokens).for_each(|tokens| {
        if (1000..=1_000_000_000).contains(tokens) {
            *tokens %= 1000;
        }
    });
    table
}

fn contents(draw: &mut Draw, table: &mut Table) {
    table.hash_offsets.push(0);
    for &input in &table.input_tokens {
        let blocks = u64::from(input % 4096).div_ceil(4) + u64::from(draw.one_in(20));
        table.hash_ids.extend((0..blocks).map(|at| if draw.one_in(9) { draw.below(u64::MAX) } else { at }));
        table.hash_offsets.push(table.hash_ids.len() as u64);
    }
    if draw.one_in(20) {
        table.hash_offsets.reverse();
    }
}
