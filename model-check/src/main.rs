use split_custody_model_check::search::Search;
use split_custody_model_check::slice::slices;
use split_custody_model_check::world::{Fact, Facts};

fn main() {
    let only = std::env::args().nth(1);
    for slice in slices() {
        if only.as_deref().is_some_and(|o| !slice.name.contains(o)) { continue; }
        let watched = Facts::of(&[
            Fact::ShareLeaked, Fact::GrantOnOtherChannel, Fact::SecondGrantOnChallenge, Fact::GrantForForeignSession, Fact::GrantBeforeLeaf,
            Fact::GrantAfterAcknowledgement, Fact::GrantToSuperseded, Fact::GrantBehindAnchor, Fact::GrantBeforeActivation, Fact::HonestBlamed, Fact::ForeignKeyLoaded,
            Fact::UseWithoutK, Fact::UseAfterLoss, Fact::OutputWithoutK, Fact::UseAfterBound, Fact::UseAfterRead, Fact::OutputOfOtherLife, Fact::CleanWithRemains,
            Fact::DeadButCounting, Fact::RenewedAfterAcknowledgement, Fact::RenewedSuperseded, Fact::AcknowledgedBeforeAnchored, Fact::ForgedOrderApplied,
        ]);
        let config = slice.config(watched);
        let initial = slice.initial(&config);
        let search = Search { initial, config: config.clone(), #[cfg(doubles)] skipped: vec![], cap: 3_000_000 };
        let found = search.clone().prove();
        println!("{:22} unique {:8} generated {:9} depth {:3} exhaustive {} {:.2}s", slice.name, found.unique, found.generated, found.depth, found.exhaustive, found.seconds);
        if let Some(_) = found.story {
            let f = search.clone().nearest();
            let mut w = search.initial.clone();
            for a in f.story.unwrap() { println!("   {a:?}"); w.step(&config, a); }
            println!("   facts {:?}", w.facts);
            for fact in 0..46u8 { let f: Fact = unsafe { std::mem::transmute(fact) }; if w.facts.contains(f) { println!("   {f:?}"); } }
        }
    }
}
