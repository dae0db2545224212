//! The rows in the order of their arrival.

use super::Rows;
use crate::error::InputError;
use crate::trace::{NONE, Trace};
use crate::workload::{Classes, Labels, Names, Workload};

impl Rows {
    /// The trace in order of arrival. Classes and marks in `labels` are by row as pushed; names are
    /// those of the rows.
    ///
    /// # Errors
    /// There are no rows, or some wait for what is not there, or for each other.
    pub fn finish(
        mut self,
        file: &str,
        sha256: String,
        labels: Labels,
        notes: impl FnOnce(super::Seen) -> serde_json::Value,
    ) -> Result<Workload, InputError> {
        if self.trace.is_empty() {
            return Err(InputError::in_file(file, "has no rows; a trace has a request a row"));
        }
        self.resolve_waits(file)?;
        self.seen.sessions = self.sessions.len() as u64;
        let mut labels = Labels { request_ids: self.all_named(), ..labels };
        if self.seen.out_of_order > 0 || !self.by_waits.is_sorted() && !self.as_written {
            let order = self.order();
            sort(&mut self.trace, &order);
            labels = sorted(&labels, &order);
        }
        Ok(Workload { trace: self.trace, labels, sha256, notes: notes(self.seen) })
    }

    fn order(&self) -> Vec<u32> {
        let mut order = self.by_waits.clone();
        if order.is_empty() {
            order.extend(0..self.trace.len() as u32);
        }
        order.sort_by_key(|&row| self.earliest_ps[row as usize]);
        order
    }
}

fn permuted<T: Copy>(column: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|&row| column[row as usize]).collect()
}

/// Puts the requests of `trace` into `order`, a permutation of its rows.
fn sort(trace: &mut Trace, order: &[u32]) {
    let mut place = vec![0; order.len()];
    for (index, &row) in order.iter().enumerate() {
        place[row as usize] = index as u32;
    }
    let mut ids = Vec::with_capacity(trace.block_ids.len());
    let mut offsets = Vec::with_capacity(trace.block_offsets.len());
    offsets.push(0);
    for &row in order {
        ids.extend_from_slice(trace.blocks(row as usize));
        offsets.push(ids.len() as u64);
    }
    (trace.block_ids, trace.block_offsets) = (ids, offsets);
    trace.arrival_ps = permuted(&trace.arrival_ps, order);
    trace.input_tokens = permuted(&trace.input_tokens, order);
    trace.output_tokens = permuted(&trace.output_tokens, order);
    trace.max_output_tokens = permuted(&trace.max_output_tokens, order);
    trace.priority = permuted(&trace.priority, order);
    trace.after = permuted(&trace.after, order);
    for after in trace.after.iter_mut().filter(|after| **after != NONE) {
        *after = place[*after as usize];
    }
    if !trace.wait_offsets.is_empty() {
        let (mut waits, mut offsets) = (Vec::with_capacity(trace.wait_for.len()), vec![0]);
        for &row in order {
            waits.extend(trace.waits(row as usize).iter().map(|&before| place[before as usize]));
            offsets.push(waits.len() as u64);
        }
        (trace.wait_for, trace.wait_offsets) = (waits, offsets);
    }
}

fn sorted(labels: &Labels, order: &[u32]) -> Labels {
    let names = |names: &Names| order.iter().map(|&row| names.get(row as usize)).collect();
    Labels {
        request_ids: labels.request_ids.as_ref().map(names),
        classes: labels
            .classes
            .as_ref()
            .map(|classes| Classes { names: classes.names.clone(), of: permuted(&classes.of, order) }),
        failed: labels.failed.as_ref().map(|failed| permuted(failed, order)),
    }
}
