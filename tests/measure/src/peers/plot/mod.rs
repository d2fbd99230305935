//! The figures for the eye.

mod chart;
pub mod run;
