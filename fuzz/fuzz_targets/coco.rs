#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| p2sam_fuzz::targets::coco(bytes));
