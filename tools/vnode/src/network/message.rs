// SPDX-License-Identifier: GPL-2.0

//! Messages of rtnetlink, as bytes: those that make, drop and list network devices.
//!
//! C headers: `include/uapi/linux/netlink.h`, `rtnetlink.h`, `if_link.h`. All numbers are in the machine's own order. What
//! is read is the kernel's, and is looked at as carefully as anybody's.

/// What the kind of our devices is called.
const KIND: &str = "vnet";
/// The attribute of that kind that names the segment (docs/vnet.md, section 6).
const SEGMENT: u16 = 1;

/// Bytes of `struct nlmsghdr` and of `struct ifinfomsg`.
const HEADER: usize = 16;
const ABOUT: usize = 16;

/// The header of an attribute.
const ATTRIBUTE: usize = 4;
/// What of an attribute's type is its number.
const NUMBER: u16 = 0x3fff;
/// The attribute of an answer that has the kernel's words (`NLMSGERR_ATTR_MSG`).
const WORDS: u16 = 1;

/// A request, with room for attributes.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// One of a type, with flags beside `NLM_F_REQUEST`.
    fn new(kind: u16, flags: i32) -> Self {
        let flags = (libc::NLM_F_REQUEST | flags) as u16;
        let mut bytes = vec![0; HEADER];
        bytes.splice(4..6, kind.to_ne_bytes());
        bytes.splice(6..8, flags.to_ne_bytes());
        // The number of the request, which is the only one of its socket.
        bytes.splice(8..12, 1u32.to_ne_bytes());
        bytes.resize(HEADER + ABOUT, 0);
        Self(bytes)
    }

    /// Makes a device on a segment.
    pub(super) fn add(name: &str, segment: &str, mac: Option<[u8; 6]>) -> Self {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Self::new(libc::RTM_NEWLINK, flags);
        request.text(libc::IFLA_IFNAME, name);
        if let Some(mac) = mac {
            request.attribute(libc::IFLA_ADDRESS, |bytes| bytes.extend(mac));
        }
        request.attribute(libc::IFLA_LINKINFO, |bytes| {
            let mut about = Self(Vec::new());
            about.text(libc::IFLA_INFO_KIND, KIND);
            about.attribute(libc::IFLA_INFO_DATA, |bytes| {
                let mut data = Self(Vec::new());
                data.text(SEGMENT, segment);
                bytes.extend(data.0);
            });
            bytes.extend(about.0);
        });
        request
    }

    /// Drops the device of a number.
    pub(super) fn remove(index: i32) -> Self {
        let mut request = Self::new(libc::RTM_DELLINK, libc::NLM_F_ACK);
        request
            .0
            .splice(HEADER + 4..HEADER + 8, index.to_ne_bytes());
        request
    }

    /// Tells of all devices.
    pub(super) fn list() -> Self {
        Self::new(libc::RTM_GETLINK, libc::NLM_F_DUMP)
    }

    fn text(&mut self, number: u16, text: &str) {
        self.attribute(number, |bytes| {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        });
    }

    fn attribute(&mut self, number: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::new();
        fill(&mut value);
        let length = (ATTRIBUTE + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(number.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// The bytes to be sent.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.0;
        let length = (bytes.len() as u32).to_ne_bytes();
        bytes.splice(0..4, length);
        bytes
    }
}

/// A device of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: i32,
    pub(super) name: String,
    pub(super) mac: [u8; 6],
    pub(super) segment: String,
    pub(super) is_up: bool,
    pub(super) has_carrier: bool,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A device that is one of ours.
    Device(Device),
    /// Devices have come or gone while the list was made: it is to be asked for again.
    Interrupted,
    /// There is nothing more, or the request is carried out.
    Done,
    /// It is not: an errno, and the kernel's words if it has any.
    Refused(i32, Option<String>),
}

/// The answers in what one read has brought; those that say nothing to us are left out.
pub(super) fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(length) = word(bytes, 0) {
        let Some(message) = bytes
            .get(..length as usize)
            .filter(|message| message.len() >= HEADER)
        else {
            break;
        };
        if half(message, 6).is_some_and(|flags| i32::from(flags) & libc::NLM_F_DUMP_INTR != 0) {
            answers.push(Answer::Interrupted);
        }
        answers.extend(answer(message));
        bytes = bytes
            .get(message.len().next_multiple_of(4)..)
            .unwrap_or(&[]);
    }
    answers
}

fn answer(message: &[u8]) -> Option<Answer> {
    let kind = half(message, 4)?;
    let body = message.get(HEADER..)?;
    if kind == libc::NLMSG_DONE as u16 {
        return Some(Answer::Done);
    }
    if kind == libc::NLMSG_ERROR as u16 {
        let error = word(body, 0)? as i32;
        return Some(match error {
            0 => Answer::Done,
            error => Answer::Refused(error.wrapping_neg(), words(message)),
        });
    }
    if kind == libc::RTM_NEWLINK {
        return device(body).map(Answer::Device);
    }
    None
}

/// What the kernel says of an error, behind the copy of the request.
fn words(message: &[u8]) -> Option<String> {
    let flags = i32::from(half(message, 6)?);
    if flags & libc::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let is_capped = flags & libc::NLM_F_CAPPED != 0;
    let copied = if is_capped {
        HEADER
    } else {
        word(message, HEADER + 4)? as usize
    };
    let attributes = message.get(HEADER + 4 + copied.next_multiple_of(4)..)?;
    let (_, words) = each(attributes).find(|(number, _)| *number == WORDS)?;
    Some(text(words))
}

fn device(body: &[u8]) -> Option<Device> {
    let flags = word(body, 8)?;
    let attributes = body.get(ABOUT..)?;
    let find = |wanted: u16| each(attributes).find(|(number, _)| *number == wanted);
    let (_, about) = find(libc::IFLA_LINKINFO)?;
    let inner = |wanted: u16| each(about).find(|(number, _)| *number == wanted);
    if text(inner(libc::IFLA_INFO_KIND)?.1) != KIND {
        return None;
    }
    let (_, data) = inner(libc::IFLA_INFO_DATA)?;
    let (_, segment) = each(data).find(|(number, _)| *number == SEGMENT)?;
    Some(Device {
        index: word(body, 4)? as i32,
        name: text(find(libc::IFLA_IFNAME)?.1),
        mac: find(libc::IFLA_ADDRESS)?.1.try_into().ok()?,
        segment: text(segment),
        is_up: flags & libc::IFF_UP as u32 != 0,
        has_carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
    })
}

/// Attributes, by number.
fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let number = half(bytes, 2)? & NUMBER;
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((number, value))
    })
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(&[]);
    String::from_utf8_lossy(bytes).into_owned()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let request = Request::add("storage", "storage", Some([2, 0, 0, 0, 0, 1]));
        let mut bytes = request.into_bytes();
        // As the kernel tells of what it has made.
        bytes.splice(HEADER + 4..HEADER + 8, 7i32.to_ne_bytes());
        let flags = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;
        bytes.splice(HEADER + 8..HEADER + 12, flags.to_ne_bytes());
        bytes
    }

    fn refused(flags: i32, copied: &[u8], words: &str) -> Vec<u8> {
        let mut request = Request(vec![0; HEADER + 4]);
        request.0.splice(4..6, 2u16.to_ne_bytes());
        request.0.splice(6..8, (flags as u16).to_ne_bytes());
        request.0.splice(HEADER..HEADER + 4, (-13i32).to_ne_bytes());
        request.0.extend(copied);
        if !words.is_empty() {
            request.text(WORDS, words);
        }
        request.into_bytes()
    }

    #[test]
    fn a_device_is_told_as_it_was_asked_for() {
        let device = Device {
            index: 7,
            name: "storage".into(),
            mac: [2, 0, 0, 0, 0, 1],
            segment: "storage".into(),
            is_up: true,
            has_carrier: true,
        };
        assert_eq!(answers(&sample()), [Answer::Device(device.clone())]);
        let two = [sample(), sample()].concat();
        assert_eq!(answers(&two).len(), 2);
        assert_eq!(answers(&two).pop(), Some(Answer::Device(device)));
    }

    #[test]
    fn a_list_that_was_interrupted_is_known() {
        let mut end = Request::new(libc::NLMSG_DONE as u16, libc::NLM_F_DUMP_INTR).into_bytes();
        assert_eq!(answers(&end), [Answer::Interrupted, Answer::Done]);
        end.splice(6..8, [0, 0]);
        assert_eq!(answers(&end), [Answer::Done]);
    }

    #[test]
    fn devices_of_other_kinds_are_left_out() {
        let mut bytes = sample();
        let at = bytes.windows(4).position(|bytes| bytes == b"vnet").unwrap();
        bytes.splice(at..at + 4, *b"veth");
        assert_eq!(answers(&bytes), []);
    }

    #[test]
    fn the_kernels_own_words_are_found() {
        let request = Request::remove(3).into_bytes();
        let flags = libc::NLM_F_ACK_TLVS;
        let said = Answer::Refused(13, Some("no".into()));
        assert_eq!(answers(&refused(flags, &request, "no")), [said]);
        let capped = flags | libc::NLM_F_CAPPED;
        let said = Answer::Refused(13, Some("no".into()));
        assert_eq!(
            answers(&refused(capped, request.get(..16).unwrap(), "no")),
            [said]
        );
        assert_eq!(
            answers(&refused(0, &request, "")),
            [Answer::Refused(13, None)]
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(mut bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..200, value: u8) {
            answers(&bytes);
            bytes = sample();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            answers(&bytes);
        }
    }
}
