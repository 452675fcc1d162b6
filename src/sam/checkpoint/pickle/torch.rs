//! What PyTorch's functions make: tensors and their storages.

use burn::tensor::{BoolStore, DType};

use super::{Machine, Place, Storage, Value};

/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

impl<'a> Machine<'a> {
    /// A function and its arguments give an object. Only what makes tensors is known; all else, such as
    /// `OrderedDict()`, gives an object that may be filled.
    pub(super) fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Option<()> {
        let (mut function, mut arguments) = (function, arguments);
        // `_rebuild_from_type_v2(function, type, arguments, state)`: a subclass of tensors.
        if let Value::Global("torch._tensor", "_rebuild_from_type_v2") = function
            && let Some([inner, _, inside, ..]) = self.items(arguments)
        {
            (function, arguments) = (*inner, *inside);
        }
        let Value::Global("torch._utils", name) = function else { return self.object() };
        let made = match (name, self.items(arguments)) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", Some([tensor, ..])) => *tensor,
            (
                "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3",
                Some([storage, offset, sizes, strides, rest @ ..]),
            ) => {
                let dtype = if name.ends_with("v3") { rest.get(2).copied() } else { None };
                match self.place(*storage, *offset, *sizes, *strides, dtype) {
                    Some(place) => {
                        let at = u32::try_from(self.tensors.len()).ok()?;
                        self.tensors.push(place);
                        Value::Tensor(at)
                    }
                    None => Value::Other,
                }
            }
            _ => Value::Other,
        };
        self.stack.push(made);
        Some(())
    }

    /// `None` for types that no weights have, and for places that are none.
    fn place(
        &self,
        storage: Value<'a>,
        offset: Value<'a>,
        sizes: Value<'a>,
        strides: Value<'a>,
        dtype: Option<Value<'a>>,
    ) -> Option<Place<'a>> {
        let (Value::Storage(storage), Value::Int(offset)) = (storage, offset) else { return None };
        let storage = self.storages.get(storage as usize)?;
        let whole = |value| -> Option<Vec<usize>> {
            let number = |item: &Value| match item {
                Value::Int(number) => usize::try_from(*number).ok(),
                _ => None,
            };
            let items = self.items(value).filter(|items| items.len() <= MOST_DIMENSIONS)?;
            items.iter().map(number).collect()
        };
        let (sizes, strides) = (whole(sizes)?, whole(strides)?);
        let own = match dtype {
            Some(Value::Global("torch", name)) => dtype_of(name),
            _ => None,
        };
        (sizes.len() == strides.len()).then_some(())?;
        Some(Place {
            dtype: own.or(storage.dtype)?,
            storage: storage.name,
            bytes: storage.bytes,
            offset: usize::try_from(offset).ok()?,
            sizes,
            strides,
        })
    }

    /// A storage by its persistent name: `("storage", type, name, device, values)`, in the older form with
    /// the part of another storage that it is, or None.
    pub(super) fn storage(&mut self, name: Value<'a>) -> Option<()> {
        let items = self.items(name)?;
        let [_, kind, Value::Text(name), _, Value::Int(values), rest @ ..] = items else {
            return None;
        };
        if matches!(rest, [Value::Sequence(_), ..]) {
            return None;
        }
        let dtype = match kind {
            Value::Global("torch", kind) => dtype_of(kind.strip_suffix("Storage")?),
            // Counted in bytes.
            Value::Global("torch.storage", "UntypedStorage") => None,
            _ => return None,
        };
        let bytes = u64::try_from(*values).ok()?;
        let bytes = bytes.checked_mul(dtype.map_or(1, |dtype| dtype.size() as u64))?;
        let at = u32::try_from(self.storages.len()).ok()?;
        let storage = Storage { dtype, name, bytes };
        self.storages.push(storage);
        self.stack.push(Value::Storage(at));
        Some(())
    }
}

/// PyTorch's names of types, as `torch.float32` and as `FloatStorage` without its ending.
fn dtype_of(name: &str) -> Option<DType> {
    Some(match name {
        "float64" | "double" | "Double" => DType::F64,
        "float32" | "float" | "Float" => DType::F32,
        "float16" | "half" | "Half" => DType::F16,
        "bfloat16" | "BFloat16" => DType::BF16,
        "int64" | "long" | "Long" => DType::I64,
        "int32" | "int" | "Int" => DType::I32,
        "int16" | "short" | "Short" => DType::I16,
        "int8" | "Char" => DType::I8,
        "uint8" | "Byte" => DType::U8,
        "bool" | "Bool" => DType::Bool(BoolStore::Native),
        _ => return None,
    })
}
