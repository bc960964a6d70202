//! What an architecture tells a GGUF file of a model.

use cortical_io::GgufValues;

use super::head::Head;

/// What a GGUF file says of a model, as its architecture writes it.
#[derive(Debug)]
pub(crate) struct GgufDescription {
    name: &'static str,
    head: Head,
    pub(crate) values: GgufValues,
    pub(crate) more: Vec<(String, Vec<f32>)>,
    pub(crate) remarks: Vec<String>,
}

impl GgufDescription {
    pub(crate) fn new(name: &'static str, head: Head) -> Self {
        let mut values = GgufValues::new();
        values.text("general.architecture", name);
        values.u32("general.quantization_version", 2);
        Self {
            name,
            head,
            values,
            more: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The architecture's name in the file.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where the model has its scores from.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// A whole number.
    pub(crate) fn size(&mut self, key: &str, size: usize) -> std::result::Result<(), String> {
        let number = u32::try_from(size).map_err(|_| format!("{key} of {size}"))?;
        self.values.u32(&self.key(key), number);
        Ok(())
    }

    /// A number with a fraction.
    pub(crate) fn number(&mut self, key: &str, number: f64) {
        self.values.f32(&self.key(key), number as f32);
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.values.text(&self.key(key), text);
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &str, is_so: bool) {
        self.values.bool(&self.key(key), is_so);
    }

    /// A whole number under a key that stands under no architecture.
    pub(crate) fn general(&mut self, key: &str, size: usize) -> std::result::Result<(), String> {
        let number = u32::try_from(size).map_err(|_| format!("{key} of {size}"))?;
        self.values.u32(key, number);
        Ok(())
    }

    /// A tensor that the model's files do not have.
    pub(crate) fn vector(&mut self, name: &str, numbers: &[f64]) {
        let numbers = numbers.iter().map(|x| *x as f32).collect();
        self.more.push((name.to_owned(), numbers));
    }

    /// What a reader of the file should know.
    pub(crate) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Says that a part of the model is not in the file.
    pub(crate) fn leave_out(&mut self, part: &str) {
        let remark = format!("{part} is left out: llama.cpp has none for this architecture");
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}
