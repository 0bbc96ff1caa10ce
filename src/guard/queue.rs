//! Bytes on their way.

/// What was typed and waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.taken)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What was taken is given back once it is half of all: each byte is moved at most once for each byte taken.
        if self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken.min(self.bytes.len()));
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.bytes().get(..length).unwrap_or_default().to_vec();
        self.taken = self.taken.saturating_add(taken.len());
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<u8> {
        self.take(self.len())
    }

    pub(super) fn clear(&mut self) -> usize {
        let length = self.len();
        *self = Self::default();
        length
    }
}
