//! Any bytes, as a safetensors file.
//!
//! Chapter 15. The strict parser never accepts what the stock `safetensors` crate refuses, and
//! where both accept they agree on every tensor's name, shape and place [SEAL-10]; it allocates within
//! a multiple of the file. It may refuse more than the stock crate does.

use std::path::Path;

use safetensors::SafeTensors;
use split_custody_weights::container::Container;

use crate::allocation;

/// What a parser says of a file it accepts: name, shape, begin and length of each tensor, by name.
pub type Said = Option<Vec<(String, Vec<u64>, usize, usize)>>;

/// The body.
pub fn run(input: &[u8]) {
    check(input, ours, stock);
}

/// The oracle: never laxer, never different, within bounds.
pub fn check(input: &[u8], ours: impl Fn(&[u8]) -> Said, stock: impl Fn(&[u8]) -> Said) {
    let (ours, peak) = allocation::peak(|| ours(input));
    assert!(peak <= TIMES * input.len() + CONSTANT, "{} bytes held {peak}", input.len());
    if let Some(ours) = ours {
        let stock = stock(input).expect("accepted what the stock parser refuses [SEAL-10]");
        assert_eq!(ours, stock, "read another tensor than the stock parser");
    }
}

pub fn ours(input: &[u8]) -> Said {
    let container = Container::read(&input, Path::new("fuzzed")).ok()?;
    let data = container.data_offset();
    let tensor = |t: &split_custody_weights::container::Tensor| {
        (t.name.clone(), t.shape.clone(), (data + t.begin) as usize, t.length as usize)
    };
    let mut tensors: Vec<_> = container.contents.tensors.iter().map(tensor).collect();
    tensors.sort();
    Some(tensors)
}

pub fn stock(input: &[u8]) -> Said {
    let file = SafeTensors::deserialize(input).ok()?;
    let begin = |data: &[u8]| data.as_ptr().addr() - input.as_ptr().addr();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let shape = view.shape().iter().map(|dimension| *dimension as u64).collect();
        (name, shape, begin(view.data()), view.data().len())
    };
    let mut tensors: Vec<_> = file.tensors().into_iter().map(tensor).collect();
    tensors.sort();
    Some(tensors)
}

/// A tensor takes some twenty bytes to say and some hundred to hold; vectors double.
const TIMES: usize = 32;
const CONSTANT: usize = 8192;
