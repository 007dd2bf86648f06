use split_custody_model_check::harness::{prove, Bound};
use split_custody_model_check::slice::slices;
fn main(){ let only=std::env::args().nth(1).unwrap_or_default();
 for s in slices(){ if s.name.starts_with("intruder") && s.name.contains(&only) { let r=prove(&s,Bound(300_000)); println!("{} unique {} gen {} depth {} exh {} {:.1}s violated {:?}", s.name,r.found.unique,r.found.generated,r.found.depth,r.found.exhaustive,r.found.seconds,r.violated); } } }
