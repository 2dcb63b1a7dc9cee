// SPDX-License-Identifier: GPL-2.0

//! The answers that a request may get.

/// Success, some errors, or both.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Success.
    pub success: bool,
    /// These errors.
    pub errors: Vec<i32>,
}

impl Allowed {
    /// Nothing but an error of these, or success if there are none.
    pub fn fails(errors: Vec<i32>) -> Self {
        Self {
            success: errors.is_empty(),
            errors,
        }
    }

    /// Success or these.
    pub fn maybe(errors: &[i32]) -> Self {
        Self {
            success: true,
            errors: errors.to_vec(),
        }
    }

    /// Whether the answer, 0 for success, is among them.
    pub fn has(&self, answer: i32) -> bool {
        match answer {
            0 => self.success,
            error => self.errors.contains(&error),
        }
    }
}
