//! The native operators and sensors, and the templates of their arguments.

pub mod catalog;
