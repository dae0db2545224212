use super::*;

const S: i64 = 1_000_000_000_000;
const MB: u64 = 1_000_000;

/// Links of so many MB/s.
fn links(capacities: &[u64]) -> Links<u32> {
    let link = |&mb: &u64| config::Link { bytes_per_s: mb * MB, latency_ps: 7 };
    Links::new(&capacities.iter().map(link).collect::<Vec<_>>())
}

/// Ends in order, each taken off as it comes.
fn ends(links: &mut Links<u32>) -> Vec<(i64, u32)> {
    std::iter::from_fn(|| {
        let (time_ps, key) = links.next()?;
        links.remove(key, time_ps);
        Some((time_ps, key))
    })
    .collect()
}

#[test]
fn alone_a_transfer_takes_its_bytes_over_the_capacity() {
    let mut one = links(&[100]);
    one.start(1, &[0], 250 * MB, 3 * S);
    assert_eq!(ends(&mut one), [(5 * S + S / 2, 1)]);
    assert_eq!(one.latency_ps(&[0, 0]), 14);
}

#[test]
fn transfers_share_equally_and_speed_up_as_others_end() {
    let mut one = links(&[100]);
    // 1 is alone for 1 s: 100 MB of 200. Both at 50 MB/s until 1 ends at 3 s, with 2 at 100 of 150 MB.
    one.start(1, &[0], 200 * MB, 0);
    one.start(2, &[0], 150 * MB, S);
    assert_eq!(ends(&mut one), [(3 * S, 1), (3 * S + S / 2, 2)]);
}

#[test]
fn the_least_share_along_a_path_counts() {
    // 1 and 2 leave by link 0 and enter by links 1 and 2. Link 2 gives 2 no more than 20 MB/s, and what
    // it leaves of link 0 stays unused.
    let mut net = links(&[100, 100, 20]);
    net.start(1, &[0, 1], 100 * MB, 0);
    net.start(2, &[0, 2], 100 * MB, 0);
    assert_eq!(ends(&mut net), [(2 * S, 1), (5 * S, 2)]);
}

#[test]
fn what_is_given_up_gives_its_share_back() {
    let mut one = links(&[100]);
    one.start(1, &[0], 100 * MB, 0);
    one.start(2, &[0], 100 * MB, 0);
    one.remove(2, S);
    assert_eq!(ends(&mut one), [(S + S / 2, 1)]);
}

#[test]
fn ends_are_rounded_up_and_shares_down() {
    let mut one = Links::new(&[config::Link { bytes_per_s: 10, latency_ps: 0 }]);
    for key in 1..=3 {
        one.start(key, &[0], 1, 0);
    }
    // 3 bytes a second each: a third of a second, and one more picosecond.
    assert_eq!(one.next(), Some((S / 3 + 1, 1)));
}

#[test]
fn the_order_of_what_happens_at_one_time_does_not_matter() {
    let run = |order: [u32; 3]| {
        let mut net = links(&[90, 60]);
        net.start(9, &[0, 1], 33 * MB, 0);
        for key in order {
            net.start(key, if key == 2 { &[1] } else { &[0, 1] }, u64::from(key) * 10 * MB, S / 7);
        }
        ends(&mut net)
    };
    let expected = run([1, 2, 3]);
    for order in [[1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        assert_eq!(run(order), expected);
    }
}

/// Random transfers over random links: none is faster than its path, no link carries more than its
/// capacity, and each carries all its bytes.
#[test]
fn bytes_are_conserved_and_no_link_is_faster_than_it_is() {
    for seed in 0..200 {
        let draw = |keys: &[u64], below: u64| crate::random::draw(seed, keys) % below;
        let capacities: Vec<u64> = (0..3).map(|link| 20 + draw(&[1, link], 500)).collect();
        let config: Vec<_> =
            capacities.iter().map(|&bytes_per_s| config::Link { bytes_per_s, latency_ps: 0 }).collect();
        let mut net = Links::new(&config);
        let mut left: Vec<(i64, u32, Vec<u32>, u64)> = (0..12)
            .map(|key| {
                let path: Vec<u32> = (0..3).filter(|&link| draw(&[2, key, u64::from(link)], 2) == 1).collect();
                let start_ps = draw(&[3, key], 20) as i64 * S / 4;
                (start_ps, key as u32, path, draw(&[4, key], 2000))
            })
            .collect();
        left.sort_unstable();
        let given = left.clone();
        let mut ended = [0; 12];
        left.reverse();
        loop {
            let start_ps = left.last().map_or(i64::MAX, |&(start_ps, ..)| start_ps);
            match net.next() {
                Some((end_ps, key)) if end_ps <= start_ps => {
                    net.remove(key, end_ps);
                    ended[key as usize] = end_ps;
                }
                _ => {
                    let Some((start_ps, key, path, bytes)) = left.pop() else { break };
                    net.start(key, &path, bytes, start_ps);
                }
            }
        }
        for (start_ps, key, path, bytes) in &given {
            let took_ps = i128::from(ended[*key as usize] - start_ps);
            for &link in path {
                let could = i128::from(capacities[link as usize]) * took_ps;
                assert!(could >= i128::from(*bytes) * PICOBYTES, "seed {seed}: {key} outran link {link}");
            }
        }
        for link in 0..3_u32 {
            let on_it = given.iter().filter(|(_, _, path, _)| path.contains(&link));
            let (mut first, mut last, mut bytes) = (i64::MAX, 0, 0);
            for (start_ps, key, _, size) in on_it {
                (first, last, bytes) = (first.min(*start_ps), last.max(ended[*key as usize]), bytes + size);
            }
            let could = i128::from(capacities[link as usize]) * i128::from((last - first).max(0));
            assert!(bytes == 0 || could >= i128::from(bytes) * PICOBYTES, "seed {seed}: link {link} carried too much");
        }
        assert!(net.flows.is_empty() && net.links.iter().all(|link| link.flows.is_empty()));
    }
}
