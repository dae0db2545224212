//! `cargo run --release --example fuzz -- INPUTS [SEED]`: so many random traces through the readers of the core.

#[path = "../tests/support/fuzz.rs"]
mod fuzz;

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let (inputs, seed) = (arguments.first().copied().unwrap_or(10_000_000), arguments.get(1).copied().unwrap_or(1));
    let outcomes = fuzz::run(seed, inputs);
    println!("{inputs} inputs: {} read, {} refused, nothing else", outcomes.read, outcomes.refused);
}
