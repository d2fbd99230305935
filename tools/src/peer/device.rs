//! The network card of the user-space TCP stack: two queues of IP packets.

use std::collections::VecDeque;

use smoltcp::{
    phy::{self, DeviceCapabilities, Medium},
    time::Instant,
};

/// What WireGuard leaves of a 1,500 byte frame on any path; also the least that IPv6 demands.
const MTU: usize = 1280;

#[derive(Debug, Default)]
pub(super) struct Device {
    /// From the tunnels to the stack.
    pub(super) incoming: VecDeque<Vec<u8>>,
    /// From the stack to the tunnels.
    pub(super) outgoing: VecDeque<Vec<u8>>,
}

pub(super) struct RxToken(Vec<u8>);

pub(super) struct TxToken<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::Device for Device {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.outgoing)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
