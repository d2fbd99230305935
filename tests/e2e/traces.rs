//! Traces: the proxy continues those of its callers, and sends them to a collector.

mod caller;
mod collector;
mod outages;
mod run;
mod sampling;
mod scaletest;
mod span;
mod spans;

use self::{
    run::{lines, terminate},
    span::{below, listed},
};
