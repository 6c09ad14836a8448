//! What the server does, as seen from outside.

mod authoring;
