use super::*;
use crate::random::draw;
use crate::rows::Turns;
use crate::trace::NONE;
use crate::workload::TOKENS_MAX;
use crate::workload::check;

const PS_PER_MS: i64 = 1_000_000_000;

fn options() -> Options {
    Options { block_tokens: 4, turns: Some(Turns::Cumulative), ..Options::default() }
}

fn read_with(text: &str, options: &Options) -> Result<Workload, InputError> {
    let result = read(text.as_bytes(), "t", options);
    if let Ok(workload) = &result {
        check(&workload.trace).unwrap();
    }
    result
}

fn rows(text: &str) -> Workload {
    read_with(text, &options()).unwrap()
}

fn refused(text: &str) -> InputError {
    read_with(text, &options()).unwrap_err()
}

/// Holds that `text` is refused at `line` and `field`, in words with `part` in them.
fn assert_refused(text: &str, line: u64, field: Option<&str>, part: &str) {
    let error = refused(text);
    assert_eq!((error.line, error.field.as_deref()), (Some(line), field), "{error}");
    assert!(error.message.contains(part), "{error} should say: {part}");
    assert_eq!(error.file.as_deref(), Some("t"));
}

#[test]
fn the_plain_row() {
    let read = rows(concat!(
        r#"{"timestamp": 0, "input_length": 6, "output_length": 3, "hash_ids": [70, 71]}"#,
        "\n",
        r#"{"timestamp": 2, "input_length": 9, "output_length": 0, "hash_ids": [70, 5, 71]}"#,
        "\n",
    ));
    let trace = &read.trace;
    assert_eq!(trace.arrival_ps, [0, 2 * PS_PER_MS]);
    assert_eq!(trace.input_tokens, [6, 9]);
    assert_eq!(trace.output_tokens, [3, 0]);
    assert_eq!(trace.max_output_tokens, [3, 0]);
    assert_eq!(trace.after, [NONE, NONE]);
    assert_eq!(trace.blocks(0), [0, 1]);
    assert_eq!(trace.blocks(1), [0, 2, 1]);
    assert_eq!(read.labels.request_ids, None);
    assert_eq!(read.notes["prefill_only"], 1);
    assert_eq!(read.notes["max_output_tokens"], "the real output length");
}

#[test]
fn every_field_and_alias() {
    let read = rows(concat!(
        r#"{"created_time": 1.5, "input_tokens": 6, "output_tokens": 2, "hash_ids": [1, 2], "session_id": "s","#,
        r#" "request_id": "a", "output_token_ids": [9, 8], "priority": -3, "strict_priority": 1, "policy_class": "gold"}"#,
        "\n",
        r#"{"input_length":6,"output_length":2,"session_id":"s","delay_ms":0.25,"request_id":"b","delay":null}"#,
    )
    .replace(r#","delay":null"#, "")
    .as_str());
    assert_eq!(read.trace.arrival_ps, [PS_PER_MS * 3 / 2, PS_PER_MS / 4]);
    assert_eq!(read.trace.after, [NONE, 0]);
    assert_eq!(read.trace.priority, [-3, 0]);
    assert_eq!(read.trace.block_ids, [0, 1, 0, 2], "without hash_ids, a later turn repeats its session");
    assert_eq!(read.labels.request_ids.unwrap().iter().collect::<Vec<_>>(), ["a", "b"]);
    for (note, count) in [
        ("sessions", 1),
        ("later_turns", 1),
        ("without_hash_ids", 1),
        ("with_priority", 1),
        ("strict_priority_without_effect", 1),
        ("policy_class_without_effect", 1),
        ("output_token_ids_without_effect", 1),
    ] {
        assert_eq!(read.notes[note], count, "{note}");
    }
}

#[test]
fn unusual_writing_means_the_same() {
    let plain = rows(r#"{"timestamp":1500,"input_length":500,"output_length":2,"session_id":"é","priority":1}"#);
    for text in [
        r#"{"timestamp":1.5e3,"input_length":500.0,"output_length":2,"session_id":"é","priority":1}"#,
        r#"  { "timestamp" : 1500 , "input_length" : 5e2 , "output_length":2 , "session_id":"\u00e9","priority":1 }  "#,
        "\t{\"timestamp\":1500.000,\"input_length\":500,\"output_length\":2,\"session_id\":\"é\",\"priority\":1}\r\n",
        "\n  \n{\"timestamp\":1500,\"\\u0069nput_length\":500,\"output_length\":2,\"session_id\":\"é\",\"priority\":1}\n\n",
        "\u{feff}{\"timestamp\":1500,\"input_length\":500,\"output_length\":2,\"session_id\":\"é\",\"hash_ids\":null,\
         \"priority\":1.0}",
    ] {
        assert_eq!(rows(text).trace, plain.trace, "{text}");
    }
    assert_eq!(rows("\u{feff}{\"timestamp\":0,\"input_length\":5,\"output_length\":2}").notes["byte_order_mark"], true);
}

#[test]
fn timestamps_are_exact_to_the_picosecond() {
    let arrival = |timestamp: &str| {
        rows(&format!(r#"{{"timestamp":{timestamp},"input_length":1,"output_length":1}}"#)).trace.arrival_ps[0]
    };
    assert_eq!(arrival("0.000000001"), 1);
    assert_eq!(arrival("8639999999.999999999"), 8_639_999_999_999_999_999);
    assert_eq!(arrival("0.30000000000000004"), 300_000_000);
    assert_eq!(arrival("-0.0"), 0);
    assert_eq!(arrival("8640000000"), crate::workload::HORIZON_PS);
}

#[test]
fn sessions_wait_and_time_is_scaled() {
    let text = concat!(
        r#"{"timestamp":10,"input_length":1,"output_length":1,"session_id":"a","delay":0}"#,
        "\n",
        r#"{"timestamp":40,"input_length":2,"output_length":1,"session_id":"a"}"#,
        "\n",
        r#"{"timestamp":20,"input_length":3,"output_length":1,"session_id":7}"#,
        "\n",
        r#"{"timestamp":99,"input_length":4,"output_length":1,"session_id":"a","delay":5}"#,
        "\n",
        r#"{"timestamp":0,"input_length":5,"output_length":1,"request_id":"x"}"#,
        "\n",
        r#"{"input_length":6,"output_length":1,"session_id":"7","delay":1}"#,
    );
    let read = read_with(text, &Options { speedup: 2.0, ..options() }).unwrap();
    assert_eq!(read.trace.input_tokens, [5, 1, 3, 6, 2, 4], "in order of the earliest arrival");
    assert_eq!(read.trace.after, [NONE, NONE, NONE, 2, 1, 4]);
    let half = PS_PER_MS / 2;
    assert_eq!(read.trace.arrival_ps, [0, 10 * half, 20 * half, half, 30 * half, 5 * half]);
    assert_eq!(read.notes["delays_from_timestamps"], 1);
    assert_eq!(read.notes["timestamps_without_effect"], 1);
    assert_eq!(read.notes["sessions"], 2);
    assert_eq!(
        read.labels.request_ids.unwrap().iter().collect::<Vec<_>>(),
        ["x", "line 1", "line 3", "line 6", "line 2", "line 4"]
    );
}

#[test]
fn the_first_rows_only() {
    let text = "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n".repeat(3) + "broken";
    let read = read_with(&text, &Options { limit: Some(3), ..options() }).unwrap();
    assert_eq!(read.trace.len(), 3);
    assert_eq!(read.sha256, hex(&Sha256::digest(text.as_bytes())), "of the whole file");
    assert!(read_with(&text, &Options { limit: Some(4), ..options() }).is_err());
}

#[test]
fn an_output_limit_of_its_own() {
    let text = r#"{"timestamp":0,"input_length":1,"output_length":7}"#;
    let read = read_with(text, &Options { max_output_tokens: Some(8), ..options() }).unwrap();
    assert_eq!((read.trace.output_tokens[0], read.trace.max_output_tokens[0]), (7, 8));
    assert_eq!(read.notes["max_output_tokens"], "given");
    let error = read_with(text, &Options { max_output_tokens: Some(6), ..options() }).unwrap_err();
    assert_eq!((error.line, error.field.as_deref()), (Some(1), Some("output_length")));
}

#[test]
fn senseless_options() {
    let text = r#"{"timestamp":0,"input_length":1,"output_length":7}"#;
    for (options, field) in [
        (Options { block_tokens: 0, ..options() }, "block_tokens"),
        (Options { limit: Some(0), ..options() }, "limit"),
        (Options { speedup: f64::NAN, ..options() }, "speedup"),
        (Options { speedup: 0.0, ..options() }, "speedup"),
        (Options { max_output_tokens: Some(TOKENS_MAX + 1), ..options() }, "max_output_tokens"),
    ] {
        assert_eq!(read_with(text, &options).unwrap_err().field.as_deref(), Some(field));
    }
}

#[test]
fn malformed_rows() {
    let good = "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n";
    for (bad, field, part) in [
        ("{\"timestamp\":0,\"input_length\":1,\"output_le", None, "cut off"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":1", None, "cut off"),
        ("{\"timestamp\":0,\"input_length\":1,\"hash_ids\":[1,2", None, "cut off"),
        ("{\"timestamp\":NaN,\"input_length\":1,\"output_length\":1}", Some("timestamp"), "found NaN"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":-Infinity}", Some("output_length"), "found -Infinity"),
        ("{\"timestamp\":0,\"input_length\":Infinity}", Some("input_length"), "found Infinity"),
        ("{\"timestamp\":0,\"input_length\":01,\"output_length\":1}", None, "malformed JSON at byte"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":1} x", None, "trailing"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":1}{}", None, "trailing"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":1,}", None, "malformed"),
        ("{'timestamp':0}", None, "malformed"),
        ("[]", None, "JSON array"),
        ("3", None, "found 3"),
        ("TIMESTAMP,ContextTokens", None, "found TIMESTAMP"),
        ("\u{feff}{}", None, "one JSON object a line"),
        ("{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"request_id\":\"a\tb\"}", None, "malformed"),
        ("\0", None, "one JSON object a line"),
    ] {
        assert_refused(&format!("{good}{bad}"), 2, field, part);
        assert_refused(&format!("{good}{bad}\n{good}"), 2, field, part);
    }
    let error = read(&b"{\"request_id\":\"\xff\"}"[..], "t", &options()).unwrap_err();
    assert!(error.message.contains("byte 16 is not UTF-8"), "{error}");
}

#[test]
fn other_formats_are_recognised() {
    for (start, part) in [
        (&b"\xff\xfe{\0"[..], "UTF-16"),
        (b"\xfe\xff\0{", "UTF-16"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "Parquet"),
        (b"", "no rows"),
        (b"\xef\xbb\xbf", "no rows"),
        (b" \n\n", "no rows"),
    ] {
        let error = read(start, "t", &options()).unwrap_err();
        assert!(error.message.contains(part), "{error}");
        assert_eq!(error.line, None);
    }
}

#[test]
fn wrong_values() {
    let row = |field: &str, value: &str| {
        let mut fields = vec![("timestamp", "0"), ("input_length", "4"), ("output_length", "2")];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let members: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (field, value, part) in [
        ("timestamp", "-1", "never negative"),
        ("timestamp", "-0.001", "never negative"),
        ("timestamp", "8640000000.0000001", "over 100 days"),
        ("timestamp", "1700000000000", "another unit"),
        ("timestamp", "1e400", "over 100 days"),
        ("timestamp", "\"0\"", "found the string \"0\""),
        ("timestamp", "true", "found true"),
        ("timestamp", "[0]", "found the array [0]"),
        ("timestamp", "null", "missing"),
        ("input_length", "0", "at least one token"),
        ("input_length", "-5", "found -5"),
        ("input_length", "1.5", "found 1.5; a whole number"),
        ("input_length", "1000000001", "from 0 to 1000000000"),
        ("input_length", "99999999999999999999", "whole number"),
        ("input_length", "\"12\"", "found the string"),
        ("input_length", "null", "missing"),
        ("output_length", "-1", "whole number"),
        ("output_length", "{}", "found the object {}"),
        ("output_length", "null", "missing"),
        ("hash_ids", "[]", "found 0 ids for 4 prompt tokens"),
        ("hash_ids", "[1,2]", "exactly 1"),
        ("hash_ids", "[-1]", "element 1: found -1"),
        ("hash_ids", "[1.0]", "element 1: found 1.0"),
        ("hash_ids", "[18446744073709551616]", "from 0 to 18446744073709551615"),
        ("hash_ids", "[\"a\"]", "element 1: found the string"),
        ("hash_ids", "[null]", "element 1: found null"),
        ("hash_ids", "7", "an array of whole numbers"),
        ("session_id", "\"\"", "not empty"),
        ("session_id", "[1]", "a string"),
        ("request_id", "{}", "a string"),
        ("delay", "1", "waits for no other"),
        ("delay", "-1", "never negative"),
        ("output_token_ids", "[1,2,3]", "found 3 ids, but output_length is 2"),
        ("output_token_ids", "[1,4294967296]", "element 2"),
        ("priority", "2147483648", "whole number from -2147483648"),
        ("priority", "1.5", "whole number"),
        ("strict_priority", "-1", "from 0 to 4294967295"),
        ("policy_class", "1.5e", "malformed"),
        ("policy_class", "true", "a string"),
        ("chat_id", "1", "no field of a Mooncake row"),
    ] {
        assert_refused(&row(field, value), 1, Some(field).filter(|_| part != "malformed"), part);
    }
    assert_refused(&row("timestamp", "0,\"timestamp\":1"), 1, Some("timestamp"), "given twice");
    assert_refused(&row("created_time", "1"), 1, Some("created_time"), "also given as timestamp");
    assert_refused(&row("input_tokens", "4"), 1, Some("input_tokens"), "also given as input_length");
    assert_eq!(rows(&row("hash_ids", "[18446744073709551615]")).trace.block_ids, [0]);
    assert_eq!(rows(&row("output_token_ids", "[4294967295,0]")).trace.len(), 1);
}

#[test]
fn rows_that_do_not_go_together() {
    let row = |rest: &str| format!("{{\"input_length\":4,\"output_length\":2,{rest}}}\n");
    let first = row(r#""timestamp":9,"session_id":"a","request_id":"x""#);
    for (second, field, part) in [
        (row(r#""timestamp":10,"request_id":"x""#), "request_id", "line 1 has it too"),
        (row(r#""timestamp":8,"session_id":"a""#), "timestamp", "turn before (line 1)"),
        (row(r#""session_id":"a""#), "delay", "missing, and no difference"),
        (row(r#""session_id":"b""#), "timestamp", "missing"),
        (row(r#""session_id":"b","delay":3"#), "delay", "waits for no other"),
        (row(r#""session_id":"a","delay":8640000000"#), "delay", "over 100 days after the start"),
    ] {
        assert_refused(&(first.clone() + &second), 2, Some(field), part);
    }
    let slow = Options { speedup: 0.5, ..options() };
    let error = read_with(&row(r#""timestamp":8640000000"#), &slow).unwrap_err();
    assert!(error.message.contains("speedup applied"), "{error}");
}

#[test]
fn a_wrong_block_size_is_named() {
    let text = concat!(
        r#"{"timestamp":0,"input_length":1000,"output_length":1,"hash_ids":[1,2]}"#,
        "\n",
        r#"{"timestamp":0,"input_length":1025,"output_length":1,"hash_ids":[1,2,3]}"#,
    );
    assert_eq!(read_with(text, &Options::default()).unwrap().trace.block_ids, [0, 1, 0, 1, 2]);
    let error = read_with(text, &Options { block_tokens: 1024, ..options() }).unwrap_err();
    assert_eq!((error.line, error.field.as_deref()), (Some(1), Some("hash_ids")));
    assert!(error.message.contains("512 would fit every row so far"), "{error}");
    assert_refused(
        r#"{"timestamp":0,"input_length":9,"output_length":1,"hash_ids":[1,2]}"#,
        1,
        Some("hash_ids"),
        "too few",
    );
    assert_refused(
        r#"{"timestamp":0,"input_length":3,"output_length":1,"hash_ids":[1,2]}"#,
        1,
        Some("hash_ids"),
        "too many",
    );
}

#[test]
fn paths_that_are_no_readable_file() {
    let missing = Path::new("no such file.jsonl");
    assert!(read_file(missing, &options()).unwrap_err().message.contains("does not exist"));
    assert!(read_file(&std::env::temp_dir(), &options()).unwrap_err().message.contains("directory"));
    #[cfg(unix)]
    assert!(read_file(Path::new("/dev/null"), &options()).unwrap_err().message.contains("not a regular file"));
}

/// Gives its text a few bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.0.len()).min(7);
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

#[test]
fn pieces_of_a_file_make_no_difference() {
    let mut text = String::new();
    for row in 0..20_000u64 {
        let ids: Vec<String> = (0..draw(1, &[row]) % 9 + 1).map(|k| draw(2, &[row, k]).to_string()).collect();
        text += &format!(
            "{{\"timestamp\":{row},\"input_length\":{},\"output_length\":1,\"hash_ids\":[{}]}}\n",
            ids.len() * 4,
            ids.join(", ")
        );
    }
    assert!(text.len() > 8 * CHUNK_BYTES);
    let whole = rows(&text);
    let trickled = read(Trickle(text.as_bytes()), "t", &options()).unwrap();
    assert_eq!(whole.trace, trickled.trace);
    assert_eq!(whole.sha256, trickled.sha256);
    let broken = text.replacen("\"timestamp\":19990,", "\"timestamp\":-1,", 1);
    assert_eq!(refused(&broken).line, Some(19991));
    let long = format!(
        "{{\"timestamp\":0,\"input_length\":{},\"output_length\":1,\"hash_ids\":[0{}]}}",
        4_000_000,
        ",1".repeat(999_999)
    );
    assert_eq!(rows(&long).trace.block_ids.len(), 1_000_000);
}

/// The two readers must agree on every row that the quick one takes, and nothing may panic.
#[test]
fn mutated_rows_are_read_alike_or_refused() {
    let seeds: [&[u8]; 5] = [
        br#"{"timestamp": 12, "input_length": 9, "output_length": 2, "hash_ids": [0, 1, 182774]}"#,
        br#"{"created_time":0.25,"input_tokens":4,"output_tokens":2,"session_id":"s","output_token_ids":[1,2]}"#,
        br#"{"timestamp":1e2,"input_length":4,"output_length":2,"request_id":"\u00e9","priority":-1,"delay":0}"#,
        br#"{"timestamp":5,"input_length":8,"output_length":0,"hash_ids":[18446744073709551615,0],"policy_class":"p"}"#,
        "{\"timestamp\":7,\"input_length\":1,\"output_length\":1,\"session_id\":\"wörld\",\"strict_priority\":0}"
            .as_bytes(),
    ];
    let splices: [&[u8]; 24] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"-",
        b".",
        b"e",
        b"0",
        b"9",
        b"99999999999999999999",
        b" ",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"null",
        b"NaN",
        b"hash_ids",
        b"\"delay\":",
        b"\xef\xbb\xbf",
    ];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..200_000u64 {
        let random = |key: u64, below: usize| (draw(20_260, &[round, key]) % below as u64) as usize;
        let mut row = seeds[random(0, seeds.len())].to_vec();
        for change in 0..1 + random(1, 3) as u64 {
            let at = random(10 + change, row.len() + 1);
            match random(20 + change, 12) {
                0 => row.truncate(at),
                1 => drop(row.drain(at..row.len().min(at + 1 + random(30 + change, 8)))),
                2 => drop(row.splice(at..at, splices[random(40 + change, splices.len())].iter().copied())),
                3 => drop(
                    row.splice(at..row.len().min(at + 1), splices[random(50 + change, splices.len())].iter().copied()),
                ),
                4 => drop(row.splice(at..at, *b" ")),
                _ => {
                    for byte in row[at..].iter_mut().filter(|byte| byte.is_ascii_digit()).take(1) {
                        *byte = b'0' + random(60 + change, 10) as u8;
                    }
                }
            }
        }
        match read(&row[..], "fuzz", &options()) {
            Ok(workload) => {
                taken += 1;
                check(&workload.trace).unwrap();
            }
            Err(error) => {
                refused += 1;
                assert!(!error.message.is_empty());
            }
        }
        let line = [row.split(|&byte| byte == b'\n').next().unwrap(), b"\n"].concat();
        let (mut quick, mut slow) = (Vec::new(), Vec::new());
        if let Some((fields, next)) = scan::scan(&line, 0, &mut quick) {
            let text = line.strip_suffix(b"\n").unwrap();
            let careful = careful::parse(text.strip_suffix(b"\r").unwrap_or(text), &mut slow);
            assert_eq!(fields, careful.unwrap_or_else(|fault| panic!("{fault:?}: {}", line.escape_ascii())));
            assert_eq!((next, quick), (line.len(), slow));
        }
    }
    assert!(taken > 10_000 && refused > 100_000, "{taken} taken, {refused} refused: the mutations test little");
}

/// `SERVETWIN_DATA=… cargo test --release -- --ignored --nocapture parse_speed`
#[test]
#[ignore = "a measurement"]
fn parse_speed() {
    let data = std::env::var("SERVETWIN_DATA").expect("SERVETWIN_DATA names the folder with traces/");
    for name in ["mooncake_conversation.jsonl", "toolagent_like_23608.jsonl"] {
        let path = Path::new(&data).join("traces").join(name);
        let bytes = fs::metadata(&path).unwrap().len();
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let start = std::time::Instant::now();
            let workload = read_file(&path, &Options::default()).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
            assert!(!workload.trace.is_empty());
        }
        println!("{name}: {:.2} ms, {:.0} MB/s", best * 1e3, bytes as f64 / 1e6 / best);
    }
}
