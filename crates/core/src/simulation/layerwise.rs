//! Hand-overs layer by layer, as vLLM's MoRIIOConnector does them in write mode.
//!
//! Both replicas have the request from its arrival on. The prompt's last pass computes layer after
//! layer, each for the same part of its time, and what a layer holds of the whole prompt can be sent
//! when it has been computed and the source knows that the destination has reserved room. Layers go one
//! after the other; those that wait for the link go as one piece, which is the same to the link.

use super::events::Events;
use crate::scheduler::LastPass;

/// A prompt's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layers {
    last_pass: Option<LastPass>,
    /// When the source heard that there is room.
    reserved_ps: Option<i64>,
    /// From when a layer can be sent to its first byte.
    ahead_ps: i64,
    /// Layers that have been sent or are on their way.
    sent: u32,
}

impl Layers {
    /// When layer `layer` of `count`, the first of which is 1, can flow.
    fn ready_ps(&self, layer: u32, count: u32) -> Option<i64> {
        let (LastPass { start_ps, end_ps, .. }, reserved_ps) = (self.last_pass?, self.reserved_ps?);
        let into = (u128::from((end_ps - start_ps) as u64) * u128::from(layer)).div_ceil(u128::from(count));
        Some((start_ps + into as i64).max(reserved_ps).saturating_add(self.ahead_ps))
    }

    /// The next piece, from `now_ps` on: when it flows, and the last of its layers. None if nothing is left, or
    /// nothing can be known yet.
    fn next(&self, count: u32, now_ps: i64) -> Option<(i64, u32)> {
        let first = self.sent + 1;
        let start_ps = self.ready_ps(first, count).filter(|_| first <= count)?.max(now_ps);
        let ready = (first..=count).take_while(|&layer| self.ready_ps(layer, count) <= Some(start_ps));
        Some((start_ps, ready.last().unwrap_or(first)))
    }
}

impl Events<'_, '_, '_> {
    fn layer_count(&mut self) -> u32 {
        self.handovers().config.layers.expect("given of hand-overs layer by layer: config::check")
    }

    /// A prompt's last pass is certain.
    pub(super) fn last_pass(&mut self, last: LastPass, now_ps: i64) {
        self.handovers().layers.entry(last.request).or_default().last_pass = Some(last);
        self.send_layers(last.request, now_ps);
    }

    /// The source hears that the destination has reserved room.
    pub(super) fn reserved(&mut self, request: u32, now_ps: i64) {
        let path = self.path_of(request);
        let ahead_ps = self.ahead_ps(&path);
        let layers = self.handovers().layers.entry(request).or_default();
        (layers.reserved_ps, layers.ahead_ps) = (Some(now_ps), ahead_ps);
        self.send_layers(request, now_ps);
    }

    /// What is computed, and not sent, goes next, or the next layer when it is computed.
    pub(super) fn send_layers(&mut self, request: u32, now_ps: i64) {
        let count = self.layer_count();
        let Some(layers) = self.handovers().layers.get_mut(&request) else { return };
        let Some((start_ps, last)) = layers.next(count, now_ps) else {
            return self.all_computed(request, now_ps);
        };
        let first = std::mem::replace(&mut layers.sent, last);
        let tokens = self.s.requests.handovers.transferred_tokens[request as usize];
        let all_bytes = u128::from(tokens) * u128::from(self.handovers().config.bytes_per_token);
        let upto = |layer: u32| (all_bytes * u128::from(layer) / u128::from(count)) as u64;
        let path = self.path_of(request);
        self.send_part(request, path, upto(last) - upto(first), start_ps);
    }

    /// A prompt is computed, or its last layer has been sent: if both, the source is done with it.
    pub(super) fn all_computed(&mut self, request: u32, now_ps: i64) {
        let count = self.layer_count();
        let is_sent = self.handovers().layers.get(&request).is_some_and(|layers| layers.sent == count);
        let handover = self.handover(request);
        if is_sent && handover.done && !handover.flowing {
            self.all_sent(request, now_ps);
        }
    }
}
