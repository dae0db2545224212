//! Whatever stands in a trace, the readers take it whole or refuse it in words. For longer: `cargo run --release
//! --example fuzz`.

#[path = "support/fuzz.rs"]
mod fuzz;

#[test]
fn random_traces_are_read_or_refused() {
    let outcomes = fuzz::run(20_261, 60_000);
    assert!(outcomes.read > 6_000 && outcomes.refused > 6_000, "{} read: it tests little", outcomes.read);
}
