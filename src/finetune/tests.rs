//! Runs on made pictures.
