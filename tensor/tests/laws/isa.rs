//! Attention and what goes with it under the lesser instruction sets of x86-64: their laws again, each in a process of its own, since the
//! set is chosen once for each.

use std::process::Command;

/// What a child is told, and asked for.
const VARIABLE: &str = "CAIRN_ISA";

/// Files of laws whose kernels have register tiles or loops for each instruction set.
const FILES: [&str; 5] = ["attention::", "gated::", "linear_cross_entropy::", "norm::", "rotary::"];

/// One law of each of the files, so that none is passed over because it is called otherwise.
const AMONG_THEM: [&str; 5] = [
    "attention::values_and_gradients_are_those_of_plain_loops",
    "gated::gates_are_activations_times_the_other_half",
    "linear_cross_entropy::losses_and_gradients_are_those_of_the_parts",
    "norm::rows_have_the_moments_asked_for",
    "rotary::pairs_are_turned_by_the_angle_of_their_position",
];

#[test]
fn what_a_child_is_told_is_what_it_uses() {
    let best = cairn_tensor::instruction_set();
    match std::env::var(VARIABLE).as_deref() {
        Ok("baseline") => assert_eq!(best, "baseline"),
        // Where the processor has it.
        Ok("avx2") => assert_ne!(best, "avx512"),
        _ => {}
    }
}

#[test]
fn the_laws_of_attention_hold_under_lesser_instruction_sets() {
    for isa in ["avx2", "baseline"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(FILES)
            .arg("isa::what_a_child_is_told_is_what_it_uses")
            .env(VARIABLE, isa)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{isa}: {printed}");
        for law in AMONG_THEM {
            assert!(printed.contains(&format!("test {law} ... ok")), "{isa}: {law} in {printed}");
        }
    }
}
