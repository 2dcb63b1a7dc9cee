// SPDX-License-Identifier: GPL-2.0

//! What KMB needs to know in order to load a Linux image (paper section 5): the image's header,
//! the places of its parts, its boot parameters and its command line.

pub mod cmdline;
pub mod fdt;
pub mod image;
pub mod params;
pub mod place;
pub mod tables;
