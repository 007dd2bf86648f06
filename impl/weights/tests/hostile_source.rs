//! Files that are nearly safetensors. The name says what is wrong; each has one rule that refuses it.

mod common;

use std::fs;
use std::path::Path;

use split_custody_weights::container::Container;
use split_custody_weights::{Dek, Ids, Place, SourceRule, WeightsError, seal};

use common::{safetensors, threads, with_header};

#[test]
fn seal_10_file_is_empty() {
    refuses(b"", Place::Byte(0), SourceRule::Empty);
}

#[test]
fn seal_10_file_ends_inside_the_header_length() {
    refuses(&[2, 0, 0, 0, 0, 0, 0], Place::Byte(7), SourceRule::LengthCut);
}

#[test]
fn seal_10_header_length_is_above_the_limit() {
    let length = 100_000_001u64;
    refuses(&length.to_le_bytes(), Place::Byte(0), SourceRule::HeaderTooLong { length });
    let length = u64::MAX;
    refuses(&length.to_le_bytes(), Place::Byte(0), SourceRule::HeaderTooLong { length });
}

#[test]
fn seal_10_header_length_is_beyond_the_file() {
    let mut file = with_header("{}", b"");
    file[0] = 3;
    refuses(&file, Place::Byte(0), SourceRule::HeaderCut { length: 3, file: 10 });
}

#[test]
fn seal_10_header_is_empty() {
    refuses(&with_header("", b""), Place::Byte(8), SourceRule::HeaderStart);
}

#[test]
fn seal_10_header_begins_with_a_space() {
    refuses(&with_header(" {}", b""), Place::Byte(8), SourceRule::HeaderStart);
}

#[test]
fn seal_10_header_ends_with_a_newline() {
    refuses(&with_header("{}\n", b""), Place::Byte(11), SourceRule::HeaderEnd);
}

#[test]
fn seal_10_header_holds_two_objects() {
    refuses_json("{}{}");
}

#[test]
fn seal_10_header_is_not_utf_8() {
    let mut file = with_header(r#"{"a?":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, b"");
    file[11] = 0xFF;
    assert!(matches!(refusal(&file).1, SourceRule::Json(_)));
}

#[test]
fn seal_10_duplicate_tensor_name() {
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let twice = format!(r#"{{"a":{entry},"a":{entry}}}"#);
    refuses(&with_header(&twice, b""), Place::Tensor("a".into()), SourceRule::DuplicateName);
    let escaped = format!(r#"{{"a":{entry},"\u0061":{entry}}}"#);
    refuses(&with_header(&escaped, b""), Place::Tensor("a".into()), SourceRule::DuplicateName);
}

#[test]
fn seal_10_duplicate_metadata() {
    let twice = r#"{"__metadata__":{},"__metadata__":{}}"#;
    refuses(
        &with_header(twice, b""),
        Place::Tensor("__metadata__".into()),
        SourceRule::DuplicateName,
    );
    let key = r#"{"__metadata__":{"k":"1","k":"2"}}"#;
    refuses(&with_header(key, b""), Place::Tensor("k".into()), SourceRule::DuplicateName);
}

#[test]
fn seal_10_metadata_is_not_strings() {
    refuses_json(r#"{"__metadata__":{"k":1}}"#);
    refuses_json(r#"{"__metadata__":"text"}"#);
}

#[test]
fn seal_10_tensor_is_not_the_object_of_three_fields() {
    refuses_json(r#"{"a":["U8",[0],[0,0]]}"#);
    refuses_json(r#"{"a":{"dtype":"U8","shape":[0]}}"#);
    refuses_json(r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}}"#);
    refuses_json(r#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    refuses_json(r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}}"#);
    refuses_json(r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}"#);
    refuses_json(r#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#);
}

#[test]
fn seal_10_json_error_names_its_byte() {
    let file = with_header(r#"{"a":?}"#, b"");
    assert!(matches!(refusal(&file), (Place::Byte(13), SourceRule::Json(_))));
}

#[test]
fn seal_10_dtype_is_unknown() {
    refuses_tensor("F128", "[1]", 0, 16, SourceRule::DtypeUnknown("F128".into()));
    refuses_tensor("f32", "[1]", 0, 4, SourceRule::DtypeUnknown("f32".into()));
}

#[test]
fn seal_10_shape_overflows() {
    refuses_tensor("U8", "[4294967296,4294967296]", 0, 0, SourceRule::ShapeOverflow);
    refuses_tensor("F64", "[2305843009213693952]", 0, 0, SourceRule::ShapeOverflow);
}

#[test]
fn seal_10_shape_is_not_whole_bytes() {
    refuses_tensor("F4", "[3]", 0, 1, SourceRule::NotWholeBytes { bits: 12 });
}

#[test]
fn seal_10_shape_and_offsets_disagree() {
    refuses_tensor("F32", "[2]", 0, 4, SourceRule::SizeDiffers { needed: 8, spanned: 4 });
    refuses_tensor("U8", "[]", 0, 0, SourceRule::SizeDiffers { needed: 1, spanned: 0 });
}

#[test]
fn seal_10_offsets_are_reversed() {
    refuses_tensor("U8", "[1]", 1, 0, SourceRule::OffsetsReversed);
}

#[test]
fn seal_10_data_begins_with_a_hole() {
    refuses_tensor("U8", "[1]", 1, 2, SourceRule::Hole { expected: 0, found: 1 });
}

#[test]
fn seal_10_tensors_overlap() {
    let header = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
    let rule = SourceRule::Overlap { expected: 2, found: 1 };
    refuses(&with_header(header, b"123"), Place::Tensor("b".into()), rule);
}

#[test]
fn seal_10_tensor_is_above_the_limit() {
    let length = (1u64 << 40) + 1;
    refuses_tensor("U8", "[1099511627777]", 0, length, SourceRule::TensorTooLong { length });
}

#[test]
fn seal_10_data_is_cut_at_every_byte() {
    let file = safetensors(&[3, 0, 4]);
    for cut in 0..file.len() {
        assert!(Container::read(&&file[..cut], Path::new("cut")).is_err(), "cut at {cut}");
    }
    let end = file.len() as u64 - 1;
    refuses(&file[..file.len() - 1], Place::Byte(end), SourceRule::DataCut { needed: 7, found: 6 });
}

#[test]
fn seal_10_trailing_byte() {
    let mut file = safetensors(&[3]);
    let end = file.len() as u64;
    file.push(0);
    refuses(&file, Place::Byte(end), SourceRule::TrailingBytes { extra: 1 });
}

#[test]
fn seal_10_source_is_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (target, key) = (folder.path().join("target"), Dek::new([1; 32]));
    let ids = Ids::fresh([1; 16], 1).expect("random bytes");
    let result = seal(folder.path(), &target, &key, &ids, threads(1), &|_| ());
    assert!(matches!(result, Err(WeightsError::Source { rule: SourceRule::NotAFile, .. })));
}

#[test]
fn error_is_one_line_that_names_file_place_and_rule() {
    let name = "bad\n\u{1b}[31m".to_string() + &"x".repeat(500);
    let entry = r#"{"dtype":"F99","shape":[0],"data_offsets":[0,0]}"#;
    let header = format!(r#"{{{}:{entry}}}"#, serde_json::to_string(&name).expect("a string"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.bin");
    fs::write(&path, with_header(&header, b"")).expect("room");
    let ids = Ids::fresh([1; 16], 1).expect("random bytes");
    let result =
        seal(&path, &folder.path().join("t"), &Dek::new([1; 32]), &ids, threads(1), &|_| ());
    let text = result.expect_err("the dtype is unknown").to_string();
    assert!(
        text.contains("model.bin")
            && text.contains("tensor `bad\\n")
            && text.ends_with("dtype `F99` is not known")
    );
    assert!(text.len() < 400 && !text.contains('\n') && !text.contains('\u{1b}'), "{text}");
}

/// What we take, the stock reader takes; what it refuses, we refuse.
#[test]
fn seal_10_never_laxer_than_the_stock_reader() {
    let base = safetensors(&[3, 0, 40]);
    for at in 0..base.len() {
        for value in [0, b' ', b'"', b'0', b'9', b'}', b',', 0xFF] {
            let mut file = base.clone();
            file[at] = value;
            if Container::read(&&file[..], Path::new("mutant")).is_ok() {
                let stock = safetensors::SafeTensors::deserialize(&file);
                assert!(stock.is_ok(), "byte {at} as {value}: {:?}", stock.err());
            }
        }
    }
}

fn refuses_tensor(dtype: &str, shape: &str, begin: u64, end: u64, rule: SourceRule) {
    let header =
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}}}"#);
    refuses(&with_header(&header, &[0; 16]), Place::Tensor("w".into()), rule);
}

fn refuses_json(header: &str) {
    let (place, rule) = refusal(&with_header(header, b""));
    assert!(
        matches!((&place, &rule), (Place::Byte(_), SourceRule::Json(_))),
        "{header}: {place}: {rule}"
    );
}

fn refuses(file: &[u8], place: Place, rule: SourceRule) {
    assert_eq!(refusal(file), (place, rule));
}

fn refusal(file: &[u8]) -> (Place, SourceRule) {
    match Container::read(&file, Path::new("source.bin")) {
        Err(WeightsError::Source { place, rule, .. }) => (place, rule),
        other => panic!("{other:?}"),
    }
}
