//! A trace together with what is known about where it came from.

use sha2::{Digest, Sha256};

use crate::error::InputError;
use crate::trace::{NONE, Trace};

/// Times beyond this are refused: a hundred days, in picoseconds.
pub const HORIZON_PS: i64 = 100 * 24 * 3600 * 1_000_000_000_000;

/// More tokens than this in one prompt or answer are taken for a mistake.
pub const TOKENS_MAX: u32 = 1_000_000_000;

/// More block ids than this in one trace are refused: 4 GiB of them.
pub const BLOCK_IDS_MAX: u64 = 1 << 30;

/// The largest number of tokens one block id may stand for.
pub const BLOCK_TOKENS_MAX: u32 = 1 << 20;

/// What a reader or a generator returns.
#[derive(Clone, Debug)]
pub struct Workload {
    pub trace: Trace,
    pub labels: Labels,
    /// Lower-case hex: of the bytes of the file read, else of the trace's columns and labels.
    pub sha256: String,
    /// What was seen and which defaults were taken: a JSON object.
    pub notes: serde_json::Value,
}

/// What is known of requests beyond what a run needs; each has an entry a request, if any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Names of the requests; none if the source gave none.
    pub request_ids: Option<Names>,
    /// Traffic classes, such as chat or agents; none if the source gave none.
    pub classes: Option<Classes>,
    /// Which requests failed when they were recorded; none if the source does not say.
    pub failed: Option<Vec<bool>>,
}

/// What kind of traffic each request is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    pub names: Names,
    /// One index into `names` a request.
    pub of: Vec<u32>,
}

impl Workload {
    /// A trace that was not read from a file: validated, and named by its content.
    ///
    /// # Errors
    /// Whatever `check` finds.
    pub fn from_trace(trace: Trace, notes: serde_json::Value) -> Result<Self, InputError> {
        Self::new(trace, Labels::default(), None, notes)
    }

    /// A trace and its labels, validated. Without the `sha256` of the file they are from, they are
    /// named by their content.
    ///
    /// # Errors
    /// Names the column at fault.
    pub fn new(
        trace: Trace,
        labels: Labels,
        sha256: Option<String>,
        notes: serde_json::Value,
    ) -> Result<Self, InputError> {
        check(&trace)?;
        labels.check(trace.len())?;
        let sha256 = sha256.unwrap_or_else(|| content_sha256(&trace, &labels));
        Ok(Workload { trace, labels, sha256, notes })
    }
}

impl Labels {
    fn check(&self, rows: usize) -> Result<(), InputError> {
        let lengths = [
            ("request_ids", self.request_ids.as_ref().map(Names::len)),
            ("classes", self.classes.as_ref().map(|classes| classes.of.len())),
            ("failed", self.failed.as_ref().map(Vec::len)),
        ];
        for (name, length) in lengths {
            if let Some(length) = length.filter(|&length| length != rows) {
                return Err(InputError::in_field(name, format!("{length} entries, but arrival_ps has {rows}")));
            }
        }
        let Some(Classes { names, of }) = &self.classes else { return Ok(()) };
        match of.iter().position(|&class| class as usize >= names.len()) {
            None => Ok(()),
            Some(row) => Err(InputError::in_field(
                "classes",
                format!("request {row}: {}, but class_names has {}", of[row], names.len()),
            )),
        }
    }
}

/// Strings end to end, one allocation for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    ends: Vec<u64>,
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut names = Names::default();
        texts.into_iter().for_each(|text| names.push(text));
        names
    }
}

impl Names {
    pub fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len() as u64);
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start as usize..self.ends[index] as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Checks everything a simulation relies on; a reader's own output passes by construction.
///
/// # Errors
/// Names the first column and row at fault.
pub fn check(trace: &Trace) -> Result<(), InputError> {
    let rows = trace.len();
    if rows == 0 {
        return Err(InputError::in_field("arrival_ps", "no requests; at least one is needed"));
    }
    if rows >= NONE as usize {
        return Err(InputError::in_field("arrival_ps", format!("{rows} requests; fewer than {NONE} are possible")));
    }
    for (name, length) in [
        ("input_tokens", trace.input_tokens.len()),
        ("output_tokens", trace.output_tokens.len()),
        ("max_output_tokens", trace.max_output_tokens.len()),
        ("priority", trace.priority.len()),
        ("after", trace.after.len()),
    ] {
        if length != rows {
            return Err(InputError::in_field(name, format!("{length} entries, but arrival_ps has {rows}")));
        }
    }
    if trace.block_tokens == 0 || trace.block_tokens > BLOCK_TOKENS_MAX {
        return Err(InputError::in_field(
            "block_tokens",
            format!("{} is not between 1 and {BLOCK_TOKENS_MAX}", trace.block_tokens),
        ));
    }
    check_offsets(trace)?;
    check_waits(trace)?;
    let mut latest_ps = 0;
    let mut followed = vec![false; rows];
    for row in 0..rows {
        check_row(trace, row, &mut latest_ps)?;
        let after = trace.after[row] as usize;
        if after < rows && std::mem::replace(&mut followed[after], true) {
            return Err(InputError::in_field(
                "after",
                format!("request {row}: {after}, which another request follows already; a request has one next turn"),
            ));
        }
    }
    Ok(())
}

fn check_offsets(trace: &Trace) -> Result<(), InputError> {
    let fault = |message| Err(InputError::in_field("block_offsets", message));
    let (rows, offsets) = (trace.len(), &trace.block_offsets);
    if offsets.len() != rows + 1 {
        return fault(format!("{} entries; one more than the {rows} requests are needed", offsets.len()));
    }
    if offsets[0] != 0 {
        return fault(format!("starts at {}, not at 0", offsets[0]));
    }
    if let Some(row) = (0..rows).find(|&row| offsets[row + 1] < offsets[row]) {
        return fault(format!("request {row}: falls from {} to {}", offsets[row], offsets[row + 1]));
    }
    let ids = trace.block_ids.len() as u64;
    if offsets[rows] != ids {
        return fault(format!("ends at {}, but there are {ids} block_ids", offsets[rows]));
    }
    if ids > BLOCK_IDS_MAX {
        return Err(InputError::in_field("block_ids", format!("{ids} ids; at most {BLOCK_IDS_MAX} are possible")));
    }
    // Tables in the simulation are as long as the largest id.
    if let Some(id) = trace.block_ids.iter().find(|&&id| u64::from(id) >= ids) {
        return Err(InputError::in_field(
            "block_ids",
            format!("{id} found among {ids} ids; number the distinct ones densely from 0"),
        ));
    }
    Ok(())
}

fn check_waits(trace: &Trace) -> Result<(), InputError> {
    let fault = |field, message| Err(InputError::in_field(field, message));
    let (rows, offsets, waits) = (trace.len(), &trace.wait_offsets, trace.wait_for.len() as u64);
    if offsets.is_empty() && waits == 0 {
        return Ok(());
    }
    if offsets.len() != rows + 1 || offsets[0] != 0 || offsets[rows] != waits || !offsets.is_sorted() {
        return fault("wait_offsets", format!("not {} numbers that rise from 0 to {waits}", rows + 1));
    }
    for row in 0..rows {
        let before = trace.waits(row);
        for (at, &one) in before.iter().enumerate() {
            if one as usize >= row {
                return fault("wait_for", format!("request {row}: {one}; a request waits for such as stand before it"));
            }
            if trace.after[row] == one || before[..at].contains(&one) {
                return fault("wait_for", format!("request {row}: {one} twice; once is enough"));
            }
        }
    }
    Ok(())
}

fn check_row(trace: &Trace, row: usize, latest_ps: &mut i64) -> Result<(), InputError> {
    let fault = |field: &str, message: String| Err(InputError::in_field(field, format!("request {row}: {message}")));
    let arrival_ps = trace.arrival_ps[row];
    if !(0..=HORIZON_PS).contains(&arrival_ps) {
        return fault("arrival_ps", format!("{arrival_ps} is not between 0 and {HORIZON_PS} ps (100 days)"));
    }
    let after = trace.after[row];
    if trace.is_root(row) {
        if arrival_ps < *latest_ps {
            return fault("arrival_ps", format!("{arrival_ps} after {latest_ps}; sort requests by arrival"));
        }
        *latest_ps = arrival_ps;
    } else if after != NONE && after as usize >= row {
        return fault("after", format!("{after}; a request follows one that stands before it"));
    }
    if !(1..=TOKENS_MAX).contains(&trace.input_tokens[row]) {
        return fault("input_tokens", format!("{} is not between 1 and {TOKENS_MAX}", trace.input_tokens[row]));
    }
    let (output, limit) = (trace.output_tokens[row], trace.max_output_tokens[row]);
    if limit > TOKENS_MAX {
        return fault("max_output_tokens", format!("{limit} is above {TOKENS_MAX}"));
    }
    if output > limit {
        return fault("output_tokens", format!("{output} is above its max_output_tokens, {limit}"));
    }
    let blocks = trace.blocks(row).len() as u64;
    let fewest = u64::from(trace.input_tokens[row].div_ceil(trace.block_tokens));
    let most = (u64::from(trace.input_tokens[row]) + u64::from(output)).div_ceil(u64::from(trace.block_tokens));
    if !(fewest..=most).contains(&blocks) {
        return fault(
            "block_ids",
            format!(
                "{blocks} ids for {} prompt and {output} output tokens; at {} a block, {fewest} to {most} are right",
                trace.input_tokens[row], trace.block_tokens
            ),
        );
    }
    Ok(())
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Over each column's little-endian bytes, in the order in which `Trace` declares them; labels, if any, last.
fn content_sha256(trace: &Trace, labels: &Labels) -> String {
    let mut hasher = Sha256::new();
    let mut buffer = Vec::new();
    hash_column(&mut hasher, &mut buffer, &trace.arrival_ps, |value| value.to_le_bytes());
    for column in [&trace.input_tokens, &trace.output_tokens, &trace.max_output_tokens] {
        hash_column(&mut hasher, &mut buffer, column, |value| value.to_le_bytes());
    }
    hash_column(&mut hasher, &mut buffer, &trace.priority, |value| value.to_le_bytes());
    hash_column(&mut hasher, &mut buffer, &trace.after, |value| value.to_le_bytes());
    hash_column(&mut hasher, &mut buffer, &trace.wait_for, |value| value.to_le_bytes());
    hash_column(&mut hasher, &mut buffer, &trace.wait_offsets, |value| value.to_le_bytes());
    hasher.update(trace.block_tokens.to_le_bytes());
    hash_column(&mut hasher, &mut buffer, &trace.block_ids, |value| value.to_le_bytes());
    hash_column(&mut hasher, &mut buffer, &trace.block_offsets, |value| value.to_le_bytes());
    if let Some(names) = &labels.request_ids {
        hash_names(&mut hasher, &mut buffer, names);
    }
    if let Some(Classes { names, of }) = &labels.classes {
        hash_names(&mut hasher, &mut buffer, names);
        hash_column(&mut hasher, &mut buffer, of, |value| value.to_le_bytes());
    }
    if let Some(failed) = &labels.failed {
        hash_column(&mut hasher, &mut buffer, failed, |mark| [u8::from(mark)]);
    }
    hex(&hasher.finalize())
}

fn hash_names(hasher: &mut Sha256, buffer: &mut Vec<u8>, names: &Names) {
    hasher.update(&names.text);
    hash_column(hasher, buffer, &names.ends, |end| end.to_le_bytes());
}

fn hash_column<T: Copy, const N: usize>(
    hasher: &mut Sha256,
    buffer: &mut Vec<u8>,
    column: &[T],
    bytes: impl Fn(T) -> [u8; N],
) {
    for part in column.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(part.iter().flat_map(|&value| bytes(value)));
        hasher.update(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Trace {
        Trace {
            arrival_ps: vec![0, 5],
            input_tokens: vec![10, 20],
            output_tokens: vec![1, 0],
            max_output_tokens: vec![4, 0],
            priority: vec![0, 0],
            after: vec![NONE, 0],
            wait_for: vec![],
            wait_offsets: vec![],
            block_tokens: 16,
            block_ids: vec![0, 0, 1],
            block_offsets: vec![0, 1, 3],
        }
    }

    #[test]
    fn a_sound_trace_passes_and_is_named_by_its_content() {
        let one = Workload::from_trace(two(), serde_json::json!({})).unwrap();
        assert_eq!(one.sha256.len(), 64);
        let other = Workload::from_trace(Trace { priority: vec![0, 1], ..two() }, serde_json::json!({})).unwrap();
        assert_ne!(one.sha256, other.sha256);
    }

    #[test]
    fn every_fault_names_its_column() {
        let faults = [
            (Trace::default(), "arrival_ps"),
            (Trace { input_tokens: vec![1], ..two() }, "input_tokens"),
            (Trace { output_tokens: vec![], ..two() }, "output_tokens"),
            (Trace { max_output_tokens: vec![], ..two() }, "max_output_tokens"),
            (Trace { priority: vec![0; 3], ..two() }, "priority"),
            (Trace { after: vec![NONE], ..two() }, "after"),
            (Trace { block_tokens: 0, ..two() }, "block_tokens"),
            (Trace { block_offsets: vec![0, 1], ..two() }, "block_offsets"),
            (Trace { block_offsets: vec![1, 1, 3], ..two() }, "block_offsets"),
            (Trace { block_offsets: vec![0, 4, 3], ..two() }, "block_offsets"),
            (Trace { block_offsets: vec![0, 1, 2], ..two() }, "block_offsets"),
            (Trace { block_ids: vec![0, 0, 3], ..two() }, "block_ids"),
            (Trace { block_offsets: vec![0, 2, 3], ..two() }, "block_ids"),
            (Trace { block_ids: vec![0, 1, 2, 3], block_offsets: vec![0, 2, 4], ..two() }, "block_ids"),
            (Trace { arrival_ps: vec![-1, 0], ..two() }, "arrival_ps"),
            (Trace { arrival_ps: vec![HORIZON_PS + 1, 0], ..two() }, "arrival_ps"),
            (Trace { arrival_ps: vec![5, 4], after: vec![NONE, NONE], ..two() }, "arrival_ps"),
            (Trace { after: vec![NONE, 1], ..two() }, "after"),
            (
                Trace {
                    arrival_ps: vec![0; 3],
                    input_tokens: vec![1; 3],
                    output_tokens: vec![0; 3],
                    max_output_tokens: vec![0; 3],
                    priority: vec![0; 3],
                    after: vec![NONE, 0, 0],
                    block_tokens: 16,
                    block_ids: vec![0; 3],
                    block_offsets: vec![0, 1, 2, 3],
                    ..Trace::default()
                },
                "after",
            ),
            (Trace { wait_for: vec![0], ..two() }, "wait_offsets"),
            (Trace { wait_for: vec![0], wait_offsets: vec![0, 1], ..two() }, "wait_offsets"),
            (Trace { wait_for: vec![0], wait_offsets: vec![0, 1, 0], ..two() }, "wait_offsets"),
            (Trace { wait_for: vec![1], wait_offsets: vec![0, 0, 1], ..two() }, "wait_for"),
            (Trace { wait_for: vec![0], wait_offsets: vec![0, 0, 1], ..two() }, "wait_for"),
            (Trace { after: vec![NONE; 2], wait_for: vec![0; 2], wait_offsets: vec![0, 0, 2], ..two() }, "wait_for"),
            (Trace { input_tokens: vec![0, 20], ..two() }, "input_tokens"),
            (Trace { output_tokens: vec![5, 0], ..two() }, "output_tokens"),
            (Trace { max_output_tokens: vec![4, TOKENS_MAX + 1], ..two() }, "max_output_tokens"),
        ];
        for (trace, field) in faults {
            let error = check(&trace).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{error}");
        }
    }

    #[test]
    fn labels_have_an_entry_a_request() {
        let built = |labels| Workload::new(two(), labels, None, serde_json::json!({}));
        let classes = |of: &[u32]| Some(Classes { names: ["chat"].into_iter().collect(), of: of.to_vec() });
        let labelled =
            built(Labels { classes: classes(&[0, 0]), failed: Some(vec![true; 2]), ..Labels::default() }).unwrap();
        assert_ne!(labelled.sha256, built(Labels::default()).unwrap().sha256);
        for (labels, field) in [
            (Labels { request_ids: Some(["a"].into_iter().collect()), ..Labels::default() }, "request_ids"),
            (Labels { classes: classes(&[0]), ..Labels::default() }, "classes"),
            (Labels { classes: classes(&[0, 1]), ..Labels::default() }, "classes"),
            (Labels { failed: Some(vec![]), ..Labels::default() }, "failed"),
        ] {
            assert_eq!(built(labels).unwrap_err().field.as_deref(), Some(field));
        }
    }

    #[test]
    fn names_come_back_as_they_went_in() {
        let mut names = Names::default();
        for name in ["a", "", "wörld"] {
            names.push(name);
        }
        assert_eq!(names.iter().collect::<Vec<_>>(), ["a", "", "wörld"]);
    }
}
