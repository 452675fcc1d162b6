//! The list of tensors that `torch.save` writes: a pickle, followed as data.
//!
//! A pickle is a program for a stack machine. This one notes names of functions and calls none. What it
//! makes lies in flat lists and values point into them, so that an object which is put into the memo and
//! taken out again and again, or one that holds itself, costs no more than its number: memory is linear
//! in the pickle's length, and nothing recurses.

mod tensors;
#[cfg(test)]
mod tests;
mod torch;

use std::collections::HashMap;

use burn::tensor::DType;

/// The list that every empty tuple is.
const EMPTY: u32 = 0;

/// Where a tensor's values lie and in what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub dtype: DType,
    /// The storage's name.
    pub storage: &'a str,
    /// Bytes that the storage is said to have.
    pub bytes: u64,
    /// Of the first value, in values.
    pub offset: usize,
    pub sizes: Vec<usize>,
    /// Steps from one value to the next along each dimension, in values.
    pub strides: Vec<usize>,
}

/// A value on the machine's stack. Numbers are places in the machine's lists.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Int(i64),
    Text(&'a str),
    /// A tuple or list.
    Sequence(u32),
    /// A dictionary, or any other object that was made by a call: both are filled alike.
    Object(u32),
    /// A function or class by its module and name.
    Global(&'a str, &'a str),
    Storage(u32),
    Tensor(u32),
    Mark,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Storage<'a> {
    /// `None` where tensors bring their own.
    dtype: Option<DType>,
    name: &'a str,
    bytes: u64,
}

/// Follows pickles, one after the other.
pub struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    memo: HashMap<u32, Value<'a>>,
    sequences: Vec<Vec<Value<'a>>>,
    objects: Vec<Vec<(Value<'a>, Value<'a>)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Place<'a>>,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            sequences: vec![Vec::new()],
            objects: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many things were made so far.
    #[cfg(test)]
    fn made(&self) -> usize {
        let held = |lists: usize, items: usize| lists + items;
        held(self.sequences.len(), self.sequences.iter().map(Vec::len).sum())
            + held(self.objects.len(), self.objects.iter().map(Vec::len).sum())
            + held(self.stack.len(), self.memo.len())
            + held(self.storages.len(), self.tensors.len())
    }

    /// Follows one pickle to its end. What it left is asked for by [`Machine::tensors`],
    /// [`Machine::texts`] and [`Machine::flag`].
    ///
    /// # Errors
    /// In words, at the first byte that is no step of a pickle.
    pub fn run(&mut self) -> Result<(), String> {
        self.stack.clear();
        self.memo.clear();
        loop {
            let start = self.at;
            let code = self.bytes.get(self.at).copied();
            match code.and_then(|code| self.step(code)) {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => {
                    return Err(format!(
                        "its list of tensors is damaged or cut off at byte {start}"
                    ));
                }
            }
        }
    }

    /// The texts of the last pickle, if it left a list of them.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        let Some(Value::Sequence(list)) = self.stack.last() else { return None };
        let items = self.sequences.get(*list as usize)?.iter();
        items.map(|item| if let Value::Text(text) = item { Some(*text) } else { None }).collect()
    }

    /// A number or flag of the last pickle, if it left a dictionary with it.
    pub fn flag(&self, name: &str) -> Option<i64> {
        let Some(Value::Object(object)) = self.stack.last() else { return None };
        self.objects.get(*object as usize)?.iter().rev().find_map(|(key, value)| {
            match (key, value) {
                (Value::Text(text), Value::Int(number)) if *text == name => Some(*number),
                _ => None,
            }
        })
    }

    /// One step; whether it was the last. `None` for what is no step.
    fn step(&mut self, code: u8) -> Option<bool> {
        self.at += 1;
        match code {
            b'.' => return Some(true),
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.stack.push(Value::Mark),
            b'N' | 0x8f => self.stack.push(Value::Other),
            0x88 => self.stack.push(Value::Int(1)),
            0x89 => self.stack.push(Value::Int(0)),
            b'}' => self.object()?,
            b']' => self.sequence(Vec::new())?,
            b')' => self.stack.push(Value::Sequence(EMPTY)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let value = self.take(4)?.try_into().ok().map(i32::from_le_bytes)?;
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'I' => {
                let value = self.line()?.trim().parse().ok()?;
                self.stack.push(Value::Int(value));
            }
            b'F' | b'L' | b'S' | b'V' => {
                self.line()?;
                self.stack.push(Value::Other);
            }
            b'G' => self.blob(8)?,
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            // Texts of Python 2 are bytes.
            b'U' => self.text(1)?,
            b'T' => self.text(4)?,
            b'C' => self.counted_blob(1)?,
            b'B' => self.counted_blob(4)?,
            0x8e | 0x96 => self.counted_blob(8)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else { return None };
                self.stack.push(Value::Global(module, name));
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let key = u32::try_from(self.memo.len()).ok()?;
                self.memo.insert(key, *self.stack.last()?);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b't' | b'l' => {
                let items = self.above_mark()?;
                self.sequence(items)?;
            }
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(code - 0x84))?;
                let items = self.stack.split_off(start);
                self.sequence(items)?;
            }
            b'd' => {
                let items = self.above_mark()?;
                self.object()?;
                self.fill(&items)?;
            }
            0x91 => {
                self.above_mark()?;
                self.stack.push(Value::Other);
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.stack.pop()?, self.stack.pop()?);
                self.call(function, arguments)?;
            }
            0x92 => {
                let (_, arguments) = (self.stack.pop()?, self.stack.pop()?);
                let function = self.stack.pop()?;
                self.call(function, arguments)?;
            }
            // The state of an object: what it holds is entered into it, as into a dictionary.
            b'b' => {
                let state = self.stack.pop()?;
                if let (Value::Object(to), Value::Object(from)) = (*self.stack.last()?, state)
                    && let [Some(to), Some(from)] = [to, from].map(|at| usize::try_from(at).ok())
                    && self.objects.get(to)?.is_empty()
                    && to != from
                {
                    let entries = std::mem::take(self.objects.get_mut(from)?);
                    *self.objects.get_mut(to)? = entries;
                }
            }
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = *self.stack.last()?;
                self.stack.push(top);
            }
            b'a' => {
                let item = self.stack.pop()?;
                self.extend(&[item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.extend(&items)?;
            }
            0x90 => drop(self.above_mark()?),
            b's' => {
                let start = self.stack.len().checked_sub(2)?;
                let items = self.stack.split_off(start);
                self.fill(&items)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.fill(&items)?;
            }
            b'Q' => {
                let name = self.stack.pop()?;
                self.storage(name)?;
            }
            _ => return None,
        }
        Some(false)
    }

    fn sequence(&mut self, items: Vec<Value<'a>>) -> Option<()> {
        let at = u32::try_from(self.sequences.len()).ok()?;
        self.sequences.push(items);
        self.stack.push(Value::Sequence(at));
        Some(())
    }

    fn object(&mut self) -> Option<()> {
        let at = u32::try_from(self.objects.len()).ok()?;
        self.objects.push(Vec::new());
        self.stack.push(Value::Object(at));
        Some(())
    }

    /// Puts keys and values into the object on the stack.
    fn fill(&mut self, items: &[Value<'a>]) -> Option<()> {
        if let Value::Object(object) = *self.stack.last()? {
            let entries =
                items.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)));
            self.objects.get_mut(object as usize)?.extend(entries);
        }
        Some(())
    }

    /// Puts items at the end of the list on the stack.
    fn extend(&mut self, items: &[Value<'a>]) -> Option<()> {
        if let Value::Sequence(list) = *self.stack.last()?
            && list != EMPTY
        {
            self.sequences.get_mut(list as usize)?.extend(items);
        }
        Some(())
    }

    fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        let Value::Sequence(sequence) = value else { return None };
        self.sequences.get(sequence as usize).map(Vec::as_slice)
    }

    /// Bytes of every storage that was named.
    pub fn storages(&self) -> HashMap<&'a str, u64> {
        self.storages.iter().map(|storage| (storage.name, storage.bytes)).collect()
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

    /// A whole number in two's complement, the lowest byte first.
    fn long(&mut self, bytes: usize) -> Option<()> {
        let length = self.number(bytes)?;
        let bytes = self.take(length)?;
        if bytes.len() > 8 {
            self.stack.push(Value::Other);
            return Some(());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        let value = bytes.iter().rev().fold(start, |sum, &byte| (sum << 8) | i64::from(byte));
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

    /// A text; one in another encoding is a value without a meaning here.
    fn text(&mut self, bytes: usize) -> Option<()> {
        let length = self.number(bytes)?;
        let text = std::str::from_utf8(self.take(length)?);
        self.stack.push(text.map_or(Value::Other, Value::Text));
        Some(())
    }

    fn line(&mut self) -> Option<&'a str> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(self.take(length)?).ok()?;
        self.skip(1)?;
        Some(line)
    }

    fn remember(&mut self, bytes: usize) -> Option<()> {
        let key = u32::try_from(self.number(bytes)?).ok()?;
        self.memo.insert(key, *self.stack.last()?);
        Some(())
    }

    fn recall(&mut self, bytes: usize) -> Option<()> {
        let key = u32::try_from(self.number(bytes)?).ok()?;
        self.stack.push(*self.memo.get(&key)?);
        Some(())
    }

    /// What lies above the last mark, which is taken away.
    fn above_mark(&mut self) -> Option<Vec<Value<'a>>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }
}
