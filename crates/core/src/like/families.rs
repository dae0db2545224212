//! Which requests of a trace belong together: turns of a session, and prompts that go on from each
//! other. Families are what is drawn as a whole; between them only common beginnings are shared.

use crate::chain::Trie;
use crate::trace::{Joined, NONE, Trace};

pub struct Families {
    /// Of each row; numbered by their first rows.
    pub of_row: Vec<u32>,
    pub count: usize,
    /// Different blocks of common beginnings.
    pub common_blocks: u64,
    /// Prompts' and answers' blocks that are of a common beginning.
    pub common_uses: u64,
}

impl Families {
    /// A block that at least `common_from` different ones follow is a common beginning, as a system prompt is. In
    /// Mooncake's conversations one block has 7,373 of them, the next 11.
    pub fn new(trace: &Trace, common_from: u32) -> Self {
        let (mut trie, mut followers): (Trie, Vec<u32>) = (Trie::new(trace), Vec::new());
        for row in 0..trace.len() {
            let mut at = NONE;
            for &id in trace.blocks(row) {
                let (node, new) = trie.step(at, id);
                if new {
                    followers.push(0);
                    if at != NONE {
                        followers[at as usize] += 1;
                    }
                }
                at = node;
            }
        }
        let mut common: Vec<bool> = followers.iter().map(|&count| count >= common_from).collect();
        // A node stands after its parent.
        for node in (0..common.len()).rev() {
            if common[node] && trie.parent[node] != NONE {
                common[trie.parent[node] as usize] = true;
            }
        }

        let mut joined = Joined::new(trace.len());
        let mut first_with = vec![NONE; common.len()];
        let mut common_uses = 0;
        for row in 0..trace.len() {
            for before in trace.predecessors(row) {
                joined.join(before, row as u32);
            }
            let mut at = NONE;
            for &id in trace.blocks(row) {
                at = trie.step(at, id).0;
                if !common[at as usize] {
                    let first = &mut first_with[at as usize];
                    if *first == NONE {
                        *first = row as u32;
                    }
                    joined.join(*first, row as u32);
                    break;
                }
                common_uses += 1;
            }
        }
        let mut number = vec![NONE; trace.len()];
        let mut count = 0;
        let of_row = (0..trace.len() as u32)
            .map(|row| {
                let number = &mut number[joined.top(row) as usize];
                if *number == NONE {
                    *number = count;
                    count += 1;
                }
                *number
            })
            .collect();
        let common_blocks = common.iter().filter(|&&common| common).count() as u64;
        Families { of_row, count: count as usize, common_blocks, common_uses }
    }
}
