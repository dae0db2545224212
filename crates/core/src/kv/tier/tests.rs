//! The tier against one that keeps a plain list of blocks.

use super::{Content, Extent, Found, ON_ITS_WAY, Tier};
use crate::chain::Piece;
use crate::random::draw;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Block {
    id: (u32, u32),
    readers: u32,
    ready_ps: i64,
}

type Ids = Vec<(u32, u32)>;

/// Blocks in order of use, the least recently used first.
struct Plain {
    capacity: usize,
    blocks: Vec<Block>,
}

fn ids(extents: impl IntoIterator<Item = Extent>) -> Ids {
    extents.into_iter().flat_map(|extent| (extent.lo..extent.hi).map(move |at| (extent.segment, at))).collect()
}

impl Plain {
    fn find(&self, wanted: &[(u32, u32)]) -> Found {
        let held = wanted.iter().map_while(|&id| self.blocks.iter().find(|block| block.id == id));
        held.fold(Found { ready_ps: i64::MIN, ..Found::default() }, |found, block| Found {
            blocks: found.blocks + 1,
            ready_ps: found.ready_ps.max(block.ready_ps),
            is_read: found.is_read || block.readers > 0,
        })
    }

    fn write(&mut self, offered: &[(u32, u32)], now_ps: i64) -> Option<(Ids, Ids)> {
        let missing: Vec<_> =
            offered.iter().copied().filter(|id| self.blocks.iter().all(|block| block.id != *id)).collect();
        let wanted = (self.blocks.len() + missing.len()).saturating_sub(self.capacity);
        let evictable = |block: &&Block| block.readers == 0 && block.ready_ps <= now_ps && !offered.contains(&block.id);
        let evicted: Vec<_> = self.blocks.iter().filter(evictable).map(|block| block.id).take(wanted).collect();
        if evicted.len() < wanted {
            return None;
        }
        self.blocks.retain(|block| !evicted.contains(&block.id));
        self.blocks.extend(missing.iter().map(|&id| Block { id, readers: 0, ready_ps: ON_ITS_WAY }));
        Some((missing, evicted))
    }

    fn each(&mut self, wanted: &[(u32, u32)], change: impl Fn(&mut Block)) {
        self.blocks.iter_mut().filter(|block| wanted.contains(&block.id)).for_each(change);
    }

    fn touch(&mut self, used: &[(u32, u32)]) {
        for id in used.iter().rev() {
            if let Some(at) = self.blocks.iter().position(|block| block.id == *id) {
                let block = self.blocks.remove(at);
                self.blocks.push(block);
            }
        }
    }
}

/// Contents that share their beginnings, as prompts do.
fn path(draws: &mut impl FnMut(u64) -> u64) -> Vec<Piece> {
    let (trunk, branch) = (1 + draws(5) as u32, draws(3) as u32);
    let fork = 3;
    if trunk <= fork {
        vec![Piece { segment: 0, end: trunk }]
    } else {
        vec![Piece { segment: 0, end: fork }, Piece { segment: 1 + branch, end: trunk + draws(4) as u32 }]
    }
}

#[test]
fn agrees_with_a_plain_list_of_blocks() {
    let mut refused = 0;
    for seed in 0..400 {
        let mut ordinal = 0;
        let mut draws = |below: u64| {
            ordinal += 1;
            draw(seed, &[ordinal]) % below
        };
        let capacity = 1 + draws(14) as u32;
        let mut tier = Tier::new(capacity);
        let mut plain = Plain { capacity: capacity as usize, blocks: Vec::new() };
        let (mut written, mut evicted) = (Vec::new(), Vec::new());
        let mut held: Vec<Vec<Extent>> = Vec::new();
        for now_ps in 0..120 {
            let path = path(&mut draws);
            let content = Content { path: &path, private: 10 + draws(3) as u32 };
            let from = draws(3) as u32;
            let upto = from + 1 + draws(9) as u32;
            let wanted: Vec<Extent> = content.extents(from, upto).collect();
            let wanted_ids = ids(wanted.iter().copied());
            assert_eq!(wanted_ids.len() as u32, upto - from);
            match draws(6) {
                0 | 1 => {
                    let expected = plain.write(&wanted_ids, now_ps);
                    let done = tier.write(wanted.iter().copied(), now_ps, &mut written, &mut evicted);
                    assert_eq!(done, expected.is_some());
                    let Some((missing, gone)) = expected else {
                        refused += 1;
                        continue;
                    };
                    assert_eq!(ids(written.iter().copied()), missing);
                    let mut told = ids(evicted.iter().copied());
                    let mut gone = gone;
                    told.sort_unstable();
                    gone.sort_unstable();
                    assert_eq!(told, gone);
                    let ready_ps = now_ps + draws(6) as i64;
                    tier.set_ready(&written, ready_ps);
                    plain.each(&missing, |block| block.ready_ps = ready_ps);
                }
                2 => {
                    tier.touch(wanted.iter().copied(), now_ps);
                    plain.touch(&wanted_ids);
                }
                3 => {
                    let found = plain.find(&wanted_ids);
                    if found.blocks > 0 && found.ready_ps <= now_ps {
                        let taken: Vec<Extent> = content.extents(from, from + found.blocks).collect();
                        tier.hold(taken.iter().copied());
                        plain.each(&ids(taken.iter().copied()), |block| block.readers += 1);
                        held.push(taken);
                    }
                }
                4 => {
                    if !held.is_empty() {
                        let given_back = held.swap_remove(draws(held.len() as u64) as usize);
                        tier.release(given_back.iter().copied());
                        plain.each(&ids(given_back), |block| block.readers -= 1);
                    }
                }
                _ => {
                    let free_to_go = |block: &Block| block.readers == 0;
                    tier.remove(wanted.iter().copied());
                    plain.blocks.retain(|block| !wanted_ids.contains(&block.id) || !free_to_go(block));
                }
            }
            tier.check();
            assert_eq!(tier.held() as usize, plain.blocks.len());
            let (found, expected) = (tier.find(wanted.iter().copied()), plain.find(&wanted_ids));
            assert_eq!((found.blocks, found.is_read), (expected.blocks, expected.is_read));
            assert_eq!(found.ready_ps.max(now_ps), expected.ready_ps.max(now_ps)); // when in the past does not matter
        }
    }
    assert!(refused > 100);
}

#[test]
fn evicts_the_ends_of_prompts_that_were_used_before_their_beginnings() {
    let path = [Piece { segment: 0, end: 4 }];
    let content = Content { path: &path, private: 9 };
    let mut tier = Tier::new(4);
    let (mut written, mut evicted) = (Vec::new(), Vec::new());
    assert!(tier.write(content.extents(0, 4), 0, &mut written, &mut evicted));
    tier.set_ready(&written, 0);
    tier.touch(content.extents(0, 4), 0);
    let other = Content { path: &[], private: 5 };
    assert!(tier.write(other.extents(0, 1), 1, &mut written, &mut evicted));
    assert_eq!(evicted, [Extent { segment: 0, lo: 3, hi: 4 }]);
    assert_eq!(tier.find(content.extents(0, 4)).blocks, 3);
}
