//! Random numbers as a function of what they are for, so that no order of evaluation matters.

/// splitmix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number for `keys` under `seed`.
pub fn draw(seed: u64, keys: &[u64]) -> u64 {
    keys.iter().fold(mix(seed), |state, &key| mix(state ^ mix(key)))
}
