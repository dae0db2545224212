//! Which replicas may hold which part of a prompt.
//!
//! An inverted index, from segment to replicas. Its entries are optimistic: a replica is listed once
//! a request with that segment was sent there, and stays until somebody looks and finds that nothing
//! of it is cached any more, or wanted by a request that is still there.

use super::super::contents::Part;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use rustc_hash::FxBuildHasher;

pub(super) struct Places {
    by_segment: Vec<Vec<u32>>,
    places: HashMap<(u32, u32), Place, FxBuildHasher>,
}

#[derive(Default)]
struct Place {
    /// Its position in the segment's list.
    at: u32,
    /// Requests with this segment that have not left the replica, whoever sent them.
    unfinished: u32,
    active: Ends,
    predicted: Predicted,
}

/// How far into a segment the prompts of active requests reach: each end with its number of requests.
#[derive(Default)]
struct Ends(Vec<(u32, u32)>);

impl Ends {
    fn greatest(&self) -> u32 {
        self.0.iter().map(|&(end, _)| end).max().unwrap_or(0)
    }

    fn add(&mut self, end: u32) {
        match self.0.iter_mut().find(|(other, _)| *other == end) {
            Some((_, requests)) => *requests += 1,
            None => self.0.push((end, 1)),
        }
    }

    fn remove(&mut self, end: u32) {
        if let Some(index) = self.0.iter().position(|&(other, _)| other == end) {
            self.0[index].1 -= 1;
            if self.0[index].1 == 0 {
                self.0.swap_remove(index);
            }
        }
    }
}

/// Without events: until when blocks up to an end are taken to be cached. Longer ends expire sooner.
#[derive(Default)]
struct Predicted(Vec<(u32, i64)>);

impl Predicted {
    fn refresh(&mut self, end: u32, expires_ps: i64) {
        self.0.retain(|&(other, _)| other > end);
        self.0.push((end, expires_ps));
    }

    fn until(&self, now_ps: i64) -> u32 {
        self.0.iter().filter(|&&(_, expires_ps)| expires_ps > now_ps).map(|&(end, _)| end).max().unwrap_or(0)
    }
}

impl Places {
    pub(super) fn new(segments: usize) -> Self {
        Places { by_segment: vec![Vec::new(); segments], places: HashMap::default() }
    }

    /// Replicas that may hold `segment`.
    pub(super) fn holders(&self, segment: u32) -> &[u32] {
        &self.by_segment[segment as usize]
    }

    /// Whether `replica` may hold any of `parts`: their first, then.
    pub(super) fn may_hold(&self, parts: &[Part], replica: u32) -> bool {
        parts.first().is_some_and(|part| self.places.contains_key(&(part.segment, replica)))
    }

    /// A request was sent to `replica`. Returns how many blocks active requests hold there more,
    /// if it is `counted` as active here.
    pub(super) fn sent(&mut self, parts: &[Part], replica: u32, counted: bool) -> u32 {
        let mut more = 0;
        for part in parts {
            let place = match self.places.entry((part.segment, replica)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let list = &mut self.by_segment[part.segment as usize];
                    list.push(replica);
                    entry.insert(Place { at: list.len() as u32 - 1, ..Place::default() })
                }
            };
            place.unfinished += 1;
            if counted {
                more += part.end.saturating_sub(place.active.greatest().max(part.start));
                place.active.add(part.end);
            }
        }
        more
    }

    /// A request has left `replica`. Returns how many blocks active requests hold there less.
    pub(super) fn ended(&mut self, parts: &[Part], replica: u32, counted: bool) -> u32 {
        let mut less = 0;
        for part in parts {
            if let Some(place) = self.places.get_mut(&(part.segment, replica)) {
                place.unfinished -= 1;
                if counted {
                    place.active.remove(part.end);
                    less += part.end.saturating_sub(place.active.greatest().max(part.start));
                }
            }
        }
        less
    }

    /// Blocks at the start of `parts` that active requests of `replica` have as well.
    pub(super) fn active(&self, parts: &[Part], replica: u32) -> u32 {
        self.follow(parts, replica, |place| place.active.greatest())
    }

    /// Blocks at the start of `parts` that are predicted to be cached by `replica`.
    pub(super) fn predicted(&self, parts: &[Part], replica: u32, now_ps: i64) -> u32 {
        self.follow(parts, replica, |place| place.predicted.until(now_ps))
    }

    fn follow(&self, parts: &[Part], replica: u32, end_of: impl Fn(&Place) -> u32) -> u32 {
        let mut blocks = 0;
        for part in parts {
            let Some(place) = self.places.get(&(part.segment, replica)) else { break };
            blocks = blocks.max(end_of(place).min(part.end));
            if blocks < part.end {
                break;
            }
        }
        blocks
    }

    pub(super) fn predict(&mut self, parts: &[Part], replica: u32, expires_ps: i64) {
        for part in parts {
            if let Some(place) = self.places.get_mut(&(part.segment, replica)) {
                place.predicted.refresh(part.end, expires_ps);
            }
        }
    }

    /// Takes `replica` off the lists of those of `parts` that no request there has and of which, as
    /// `is_gone` says, nothing is cached.
    pub(super) fn forget(&mut self, parts: &[Part], replica: u32, now_ps: i64, is_gone: impl Fn(&Part) -> bool) {
        for part in parts {
            let Entry::Occupied(entry) = self.places.entry((part.segment, replica)) else { continue };
            let place = entry.get();
            if place.unfinished > 0 || place.predicted.until(now_ps) > 0 || !is_gone(part) {
                continue;
            }
            let at = entry.remove().at as usize;
            let list = &mut self.by_segment[part.segment as usize];
            list.swap_remove(at);
            if let Some(&moved) = list.get(at)
                && let Some(place) = self.places.get_mut(&(part.segment, moved))
            {
                place.at = at as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(segment: u32, start: u32, end: u32) -> Part {
        Part { segment, start, end }
    }

    #[test]
    fn blocks_of_active_requests_count_once() {
        let mut places = Places::new(3);
        let (long, short, other) =
            ([part(0, 0, 4), part(1, 4, 10)], [part(0, 0, 4), part(1, 4, 7)], [part(0, 0, 4), part(2, 4, 6)]);
        assert_eq!(places.sent(&short, 5, true), 7);
        assert_eq!(places.sent(&long, 5, true), 3);
        assert_eq!(places.sent(&other, 5, true), 2);
        assert_eq!(places.sent(&long, 5, true), 0);
        assert_eq!((places.active(&long, 5), places.active(&other, 5), places.active(&long, 4)), (10, 6, 0));
        assert_eq!(places.ended(&long, 5, true), 0);
        assert_eq!(places.ended(&long, 5, true), 3);
        assert_eq!(places.active(&long, 5), 7);
        assert_eq!(places.ended(&other, 5, true), 2);
        assert_eq!(places.ended(&short, 5, true), 7);
    }

    #[test]
    fn a_place_is_forgotten_when_nothing_is_left_of_it() {
        let mut places = Places::new(2);
        let parts = [part(0, 0, 4), part(1, 4, 8)];
        for replica in [3, 1, 2] {
            places.sent(&parts, replica, false);
        }
        places.forget(&parts, 3, 0, |_| true);
        assert_eq!(places.holders(1), [3, 1, 2], "its request is still there");
        places.ended(&parts, 3, false);
        places.forget(&parts, 3, 0, |part| part.segment == 1);
        assert_eq!((places.holders(0), places.holders(1)), (&[3, 1, 2][..], &[2, 1][..]));
        places.ended(&parts, 2, false);
        places.forget(&parts, 2, 0, |_| true);
        assert_eq!((places.holders(0), places.holders(1)), (&[3, 1][..], &[1][..]));
    }

    #[test]
    fn predictions_expire_from_the_end() {
        let mut places = Places::new(1);
        places.sent(&[part(0, 0, 9)], 0, false);
        places.predict(&[part(0, 0, 9)], 0, 100);
        places.predict(&[part(0, 0, 5)], 0, 150);
        let until = |now_ps| places.predicted(&[part(0, 0, 9)], 0, now_ps);
        assert_eq!((until(99), until(100), until(149), until(150)), (9, 5, 5, 0));
    }
}
