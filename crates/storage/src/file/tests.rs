//! Tests that look behind the public face.
