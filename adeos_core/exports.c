// SPDX-License-Identifier: GPL-2.0
/* Exports what the other modules call of adeos_core's and proto's Rust. */
#include <linux/export.h>

#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)

#include "exports_generated.h"
