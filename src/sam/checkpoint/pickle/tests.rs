use super::*;

/// A file of the older form that PyTorch wrote: tests/fixtures/make_checkpoints.py.
const WRITTEN: &[u8] = include_bytes!("../../../../tests/fixtures/checkpoints/orders_plain.pt");

/// A pickle of one dictionary.
fn run(pickle: &[u8]) -> Machine<'_> {
    let mut machine = Machine::new(pickle);
    machine.run().expect("a pickle");
    machine
}

/// What is put into the memo and taken out twice, level by level, has twice as many leaves at each;
/// it is never copied. Ten levels are enough to see it and harmless to any reader.
#[test]
fn what_comes_out_of_the_memo_is_never_copied() {
    let mut pickle = b"\x80\x02K\x01\x85q\0".to_vec();
    for level in 0..10u8 {
        pickle.extend([b'h', level, b'h', level, 0x86, b'q', level + 1]);
    }
    pickle.push(b'.');
    let machine = run(&pickle);
    // Copies of all leaves would be more than a thousand.
    assert!(machine.made() < pickle.len(), "{} things", machine.made());
}

#[test]
fn dictionaries_within_each_other_end() {
    // {"a": {"b": ...}, "b": {...}}: each holds the next one twice; the last one holds itself.
    let mut pickle = b"\x80\x02}q\0X\x01\0\0\0ah\0s".to_vec();
    for level in 0..5u8 {
        pickle.extend(b"}q");
        pickle.push(level + 1);
        for key in [b'a', b'b'] {
            pickle.extend([b'X', 1, 0, 0, 0, key, b'h', level, b's']);
        }
    }
    pickle.push(b'.');
    let machine = run(&pickle);
    assert!(machine.tensors().expect("few enough").is_empty());
    let error = machine.tensors_within(100).expect_err("more than a hundred");
    assert!(error.contains("more names"), "{error}");
}

#[test]
fn a_name_is_a_path_of_keys() {
    let machine = run(b"\x80\x04}(K\x07}\x8c\x01bNsX\x01\0\0\0aNu.");
    assert_eq!(machine.objects.len(), 2);
    assert!(machine.tensors().expect("few").is_empty());
    assert_eq!(run(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.").flag("little_endian"), Some(1));
    assert_eq!(run(b"\x80\x02](U\x011X\x01\0\0\x002e.").texts(), Some(vec!["1", "2"]));
}

#[test]
fn any_bytes_come_to_an_end() {
    let follow = |bytes: &[u8]| {
        let mut machine = Machine::new(bytes);
        while machine.run().is_ok() {
            let _ = machine.tensors();
        }
        assert!(machine.made() <= 4 * bytes.len() + 4);
    };
    for end in 0..WRITTEN.len() {
        follow(&WRITTEN[..end]);
        let mut broken = WRITTEN.to_vec();
        broken[end] ^= 0x5a;
        follow(&broken);
    }
}
