// SPDX-License-Identifier: GPL-2.0

//! Services by number: which handler a message is for, and which numbers belong to whom.

/// Who has a range of service numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The nanokernel itself: membership, clocks, vnodes.
    Nanokernel,
    /// Consoles (`vcons`).
    Console,
    /// Networks (`vnet`).
    Net,
    /// Files (`vdfs`).
    Files,
    /// Hardware devices and who has them.
    Devices,
    /// Bridges: creation, opening, release.
    Bridges,
    /// Moving memory: freeze, thaw, relocation.
    Mover,
    /// Experiments and tests.
    Local,
}

impl Area {
    /// All areas.
    pub const ALL: [Self; 8] = [
        Self::Nanokernel,
        Self::Console,
        Self::Net,
        Self::Files,
        Self::Devices,
        Self::Bridges,
        Self::Mover,
        Self::Local,
    ];

    /// The first and the last number of the range.
    pub const fn range(self) -> (u16, u16) {
        match self {
            // 0 is no service, so that memory full of zeros asks for nothing.
            Self::Nanokernel => (0x0001, 0x00ff),
            Self::Console => (0x0100, 0x01ff),
            Self::Net => (0x0200, 0x02ff),
            Self::Files => (0x0300, 0x03ff),
            Self::Devices => (0x0400, 0x04ff),
            Self::Bridges => (0x0500, 0x05ff),
            Self::Mover => (0x0600, 0x06ff),
            Self::Local => (0xff00, 0xffff),
        }
    }

    /// Whether a service is in the range.
    pub const fn contains(self, service: u16) -> bool {
        let (first, last) = self.range();
        first <= service && service <= last
    }
}

/// Why a service is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The number is not in the range.
    OutOfRange,
    /// Somebody has it already.
    Taken,
    /// There are as many services as there can be.
    Full,
}

/// Which handler: a number that means something to the caller, such as an index of a table.
pub type Handler = u16;

#[derive(Clone, Copy, Debug)]
struct Route {
    service: u16,
    handler: Handler,
}

/// Up to `N` services.
#[derive(Debug)]
pub struct Routes<const N: usize> {
    routes: [Option<Route>; N],
}

impl<const N: usize> Routes<N> {
    /// No service.
    pub const fn new() -> Self {
        Self { routes: [None; N] }
    }

    /// Registers a service of an area.
    pub fn add(&mut self, area: Area, service: u16, handler: Handler) -> Result<(), RouteError> {
        if !area.contains(service) {
            return Err(RouteError::OutOfRange);
        }
        if self.find(service).is_some() {
            return Err(RouteError::Taken);
        }
        let place = self
            .routes
            .iter_mut()
            .find(|place| place.is_none())
            .ok_or(RouteError::Full)?;
        *place = Some(Route { service, handler });
        Ok(())
    }

    /// Takes a service out and returns its handler: requests are refused from now on. Messages
    /// that were taken out of the rings before may still be with the handler.
    pub fn remove(&mut self, service: u16) -> Option<Handler> {
        self.routes
            .iter_mut()
            .find(|place| place.is_some_and(|route| route.service == service))
            .and_then(Option::take)
            .map(|route| route.handler)
    }

    /// The handler of a service.
    pub fn find(&self, service: u16) -> Option<Handler> {
        self.routes
            .iter()
            .flatten()
            .find(|route| route.service == service)
            .map(|route| route.handler)
    }
}

impl<const N: usize> Default for Routes<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DS-40, DS-41: ranges do not overlap, and each is its owner's.
    #[test]
    fn every_service_has_one_owner_at_most() {
        for service in 0..=u16::MAX {
            let owners = Area::ALL
                .iter()
                .filter(|area| area.contains(service))
                .count();
            assert!(owners <= 1);
            assert!(service != 0 || owners == 0);
        }
        let mut routes = Routes::<2>::new();
        assert_eq!(routes.add(Area::Net, 0x300, 1), Err(RouteError::OutOfRange));
        assert_eq!(routes.add(Area::Net, 0x200, 1), Ok(()));
        assert_eq!(routes.add(Area::Net, 0x200, 2), Err(RouteError::Taken));
        assert_eq!(routes.add(Area::Files, 0x300, 2), Ok(()));
        assert_eq!(routes.add(Area::Files, 0x301, 3), Err(RouteError::Full));
        assert_eq!(routes.find(0x200), Some(1));
        assert_eq!(routes.remove(0x200), Some(1));
        assert_eq!((routes.find(0x200), routes.remove(0x200)), (None, None));
    }
}
