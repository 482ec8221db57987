//! What is asked of one argument of a call.

/// How much of an argument is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The lower half: what the kernel itself reads of an `int`. Whatever
    /// stands above it must not be a way around (CVE-2019-10063).
    Half,
    /// All 64 bits
    Whole,
}

/// How an argument is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    Other,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// One argument, the bits of it that count, and what they are compared with,
/// without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5
    pub argument: u8,
    /// How much of it is looked at
    pub width: Width,
    /// The bits that count
    pub mask: u64,
    /// How it is compared
    pub is: Comparison,
    /// With what
    pub value: u64,
}

impl Condition {
    /// Whether it holds for this value of the argument.
    pub fn holds(&self, argument: u64) -> bool {
        let [argument, value] = [argument & self.mask, self.value].map(|it| match self.width {
            Width::Half => it & u64::from(u32::MAX),
            Width::Whole => it,
        });
        match self.is {
            Comparison::Equal => argument == value,
            Comparison::Other => argument != value,
            Comparison::Below => argument < value,
            Comparison::AtMost => argument <= value,
            Comparison::Above => argument > value,
            Comparison::AtLeast => argument >= value,
        }
    }
}
