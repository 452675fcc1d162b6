//! Whether the tensors of a PyTorch file lie in memory in the order of their dimensions.
//!
//! `torch.save` keeps a tensor's strides, and a model trained with channels last, or one whose weights
//! were transposed, is saved in that order. The reader of tensors takes every tensor as row-major and
//! would mix its values up without a word, so that such a file is told here. The pickle is followed
//! as data: names of functions are noted and nothing is called.

use std::collections::HashMap;
use std::rc::Rc;

/// Pickles in a row of the older form of `torch.save`: magic number, version, system, tensors.
const LEGACY_PICKLES: usize = 4;

/// What is known of a value on the pickle machine's stack.
#[derive(Clone, Debug)]
enum Value {
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<Vec<Value>>),
    /// A function or class by its module and name.
    Global(Rc<str>),
    Mark,
    Other,
}

/// Reads the pickles at the start of a file. The sizes of the first tensor that is not row-major, if
/// there is one.
///
/// Whatever this machine does not know ends the look: the reader of tensors will have its own word.
pub fn first_unordered(bytes: &[u8]) -> Option<Vec<i64>> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), memo: HashMap::new(), found: None };
    for _ in 0..LEGACY_PICKLES {
        if machine.run().is_none() || machine.found.is_some() {
            break;
        }
    }
    machine.found
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    found: Option<Vec<i64>>,
}

impl<'a> Machine<'a> {
    /// Follows one pickle to its end; `None` at its first unknown or broken step, or once a tensor
    /// was found.
    fn run(&mut self) -> Option<()> {
        self.stack.clear();
        self.memo.clear();
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return Some(()),
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.stack.push(Value::Mark),
                b'}' | b']' | b'N' | 0x88 | 0x89 | 0x8f => self.stack.push(Value::Other),
                b')' => self.stack.push(Value::Tuple(Rc::default())),
                b'K' => self.integer(1)?,
                b'M' => self.integer(2)?,
                b'J' => {
                    let value = self.take(4)?.try_into().ok().map(i32::from_le_bytes)?;
                    self.stack.push(Value::Int(value.into()));
                }
                0x8a => {
                    let length = self.number(1)?;
                    let bytes = self.take(length)?;
                    self.stack.push(long(bytes));
                }
                b'G' => self.blob(8)?,
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                b'U' | b'C' => self.counted_blob(1)?,
                b'T' | b'B' => self.counted_blob(4)?,
                0x8e => self.counted_blob(8)?,
                b'c' => {
                    let name = format!("{} {}", self.line()?, self.line()?);
                    self.stack.push(Value::Global(name.into()));
                }
                0x93 => {
                    let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                    self.stack.push(match (module, name) {
                        (Value::Text(m), Value::Text(n)) => {
                            Value::Global(format!("{m} {n}").into())
                        }
                        _ => Value::Other,
                    });
                }
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let key = u32::try_from(self.memo.len()).ok()?;
                    self.memo.insert(key, self.stack.last()?.clone());
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                b't' => {
                    let items = self.above_mark()?;
                    self.stack.push(Value::Tuple(Rc::new(items)));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let start = self.stack.len().checked_sub(count)?;
                    let items = self.stack.split_off(start);
                    self.stack.push(Value::Tuple(Rc::new(items)));
                }
                b'R' | 0x81 => self.call()?,
                // Building, setting and appending leave the object below as it is for us.
                b'b' | b'a' | b'0' => drop(self.stack.pop()?),
                b's' => self.stack.truncate(self.stack.len().checked_sub(2)?),
                b'u' | b'e' | 0x90 => drop(self.above_mark()?),
                // A storage, by its persistent name.
                b'Q' => {
                    self.stack.pop()?;
                    self.stack.push(Value::Other);
                }
                _ => return None,
            }
        }
    }

    /// A function and its arguments give an object. Of a rebuilt tensor, the strides are compared
    /// with the sizes.
    fn call(&mut self) -> Option<()> {
        let (arguments, function) = (self.stack.pop()?, self.stack.pop()?);
        self.stack.push(Value::Other);
        if let (Value::Global(name), Value::Tuple(arguments)) = (function, arguments)
            && name.starts_with("torch._utils _rebuild_tensor")
            && let [_, _, sizes, strides, ..] = arguments.as_slice()
            && let (Some(sizes), Some(strides)) = (integers(sizes), integers(strides))
            && !is_row_major(&sizes, &strides)
        {
            self.found = Some(sizes);
            return None;
        }
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    /// An unsigned number of so many bytes, the lowest first.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        let value = taken.iter().rev().fold(0u64, |sum, &byte| (sum << 8) | u64::from(byte));
        usize::try_from(value).ok()
    }

    fn integer(&mut self, bytes: usize) -> Option<()> {
        let value = i64::try_from(self.number(bytes)?).ok()?;
        self.stack.push(Value::Int(value));
        Some(())
    }

    fn blob(&mut self, length: usize) -> Option<()> {
        self.skip(length)?;
        self.stack.push(Value::Other);
        Some(())
    }

    fn counted_blob(&mut self, bytes: usize) -> Option<()> {
        let length = self.number(bytes)?;
        self.blob(length)
    }

    fn text(&mut self, bytes: usize) -> Option<()> {
        let length = self.number(bytes)?;
        let text = String::from_utf8_lossy(self.take(length)?);
        self.stack.push(Value::Text(text.into()));
        Some(())
    }

    fn line(&mut self) -> Option<String> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.skip(1)?;
        Some(line)
    }

    fn remember(&mut self, bytes: usize) -> Option<()> {
        let key = u32::try_from(self.number(bytes)?).ok()?;
        self.memo.insert(key, self.stack.last()?.clone());
        Some(())
    }

    fn recall(&mut self, bytes: usize) -> Option<()> {
        let key = u32::try_from(self.number(bytes)?).ok()?;
        self.stack.push(self.memo.get(&key)?.clone());
        Some(())
    }

    /// What lies above the last mark, which is taken away.
    fn above_mark(&mut self) -> Option<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }
}

/// A whole number in two's complement, the lowest byte first.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    Value::Int(bytes.iter().rev().fold(start, |sum, &byte| (sum << 8) | i64::from(byte)))
}

fn integers(value: &Value) -> Option<Vec<i64>> {
    let Value::Tuple(items) = value else { return None };
    items.iter().map(|item| if let Value::Int(i) = item { Some(*i) } else { None }).collect()
}

/// Whether the last dimension is the densest and every other steps over those after it. The stride
/// of a dimension of length 1 means nothing.
fn is_row_major(sizes: &[i64], strides: &[i64]) -> bool {
    let mut expected = 1i64;
    sizes.len() == strides.len()
        && sizes.iter().zip(strides).rev().all(|(&size, &stride)| {
            let right = size <= 1 || stride == expected;
            expected = expected.saturating_mul(size.max(1));
            right
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that PyTorch wrote: see tests/fixtures/make_strides.py.
    fn pickle(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/strides/");
        std::fs::read(format!("{folder}{name}.pkl")).expect("the fixture is there")
    }

    #[test]
    fn tensors_in_order_pass() {
        for name in ["plain", "plain_legacy", "views"] {
            assert_eq!(first_unordered(&pickle(name)), None, "{name}");
        }
    }

    #[test]
    fn other_orders_are_found() {
        assert_eq!(first_unordered(&pickle("channels_last")), Some(vec![4, 3, 2, 2]));
        assert_eq!(first_unordered(&pickle("transposed")), Some(vec![300, 5]));
        assert_eq!(first_unordered(&pickle("transposed_legacy")), Some(vec![300, 5]));
    }

    #[test]
    fn any_bytes_come_to_an_end() {
        let whole = pickle("transposed");
        for end in 0..whole.len() {
            first_unordered(&whole[..end]);
            let mut broken = whole.clone();
            broken[end] ^= 0x5a;
            first_unordered(&broken);
        }
    }
}
