//! The one error of the API: opaque, with context layers, familiar to users of `anyhow`.
//!
//! An [`Error`] is a chain. At its bottom stands a root (an error value or a message); every
//! [`context`](Error::context) puts a layer on top. A layer's value and the root can be downcast to;
//! so one error can carry a [`Trap`], the backtrace of where it happened and what the host adds.
//!
//! Invariant: `Error` is one word, and dropping a chain of any length uses bounded stack.

use std::any::{Any, TypeId};
use std::error::Error as StdError;
use std::fmt::{self, Debug, Display, Write as _};
use wardian_module::{DecodeError, Trap};

/// `Result` with [`Error`] as its usual error.
///
/// ```
/// fn add(text: &str) -> wardian::Result<i32> {
///     let module = wardian::Module::new(&wardian::Engine::default(), text)?;
///     let mut store = wardian::Store::new(module.engine(), ());
///     let instance = wardian::Instance::new(&mut store, &module, &[])?;
///     instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?.call(&mut store, (1, 2))
/// }
///
/// assert!(add("(module)").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure an [`Error`] is, for programs that decide by it.
///
/// ```
/// use wardian::{Engine, ErrorKind, Module};
///
/// let error = Module::new(&Engine::default(), "(module (func (result i32)))").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidModule);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bytes or text that are no valid module, or an artifact that cannot be trusted.
    InvalidModule,
    /// An import that is missing or of another type.
    Link,
    /// The guest trapped; [`Trap`] can be downcast to.
    Trap,
    /// A host function failed.
    Host,
    /// A use of the API that its documentation rules out, such as a handle of another store.
    Misuse,
    /// A limit was reached: of the configuration, of a store, or of the machine.
    Limit,
    /// Everything else, among it every error made by users.
    Other,
}

/// An error of the engine, of the guest or of the host.
///
/// `{}` shows the outermost layer, `{:#}` all of them in one line, `{:?}` all of them with their
/// causes in a list, which is what `main` prints when it returns one.
///
/// ```
/// use wardian::{Error, ErrorKind, Trap};
///
/// let error = Error::from(Trap::StackOverflow).context("while sorting");
/// assert_eq!(error.to_string(), "while sorting");
/// assert_eq!(format!("{error:#}"), "while sorting: call stack exhausted");
/// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
/// assert_eq!(error.kind(), ErrorKind::Trap);
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    /// What the engine says it is; inner layers may say something else.
    tag: Option<ErrorKind>,
    node: Box<dyn Node>,
}

/// One layer of a chain.
trait Node: Send + Sync {
    /// The layer as others see it, its `source` being the next layer.
    fn as_std(&self) -> &(dyn StdError + 'static);
    fn into_std(self: Box<Self>) -> Box<dyn StdError + Send + Sync>;
    /// The value that users put in.
    fn value(&self) -> &(dyn Any + Send + Sync);
    fn value_mut(&mut self) -> &mut (dyn Any + Send + Sync);
    /// The value if it is of this type, else the layer below.
    fn take(self: Box<Self>, want: TypeId) -> Result<Box<dyn Any>, Option<Error>>;
    fn below(&self) -> Option<&Error>;
    fn below_mut(&mut self) -> Option<&mut Below>;
}

impl Error {
    /// An error with `error` as its root.
    pub fn new<E>(error: E) -> Error
    where
        E: StdError + Send + Sync + 'static,
    {
        Error::from_node(Root(error))
    }

    /// An error that consists of a message, or of any value that can be shown.
    ///
    /// ```
    /// let error = wardian::Error::msg("no such plugin");
    /// assert_eq!(error.downcast_ref::<&str>(), Some(&"no such plugin"));
    /// ```
    pub fn msg<M>(message: M) -> Error
    where
        M: Display + Debug + Send + Sync + 'static,
    {
        Error::from_node(Message(message))
    }

    /// An error with a boxed error as its root. Downcasting finds the box, not what is in it.
    pub fn from_boxed(error: Box<dyn StdError + Send + Sync>) -> Error {
        Error::from_node(Boxed(error))
    }

    /// Puts a layer on top: what was being done when the error happened.
    pub fn context<C>(self, context: C) -> Error
    where
        C: Display + Debug + Send + Sync + 'static,
    {
        Error::from_node(Layer { context, below: Below(Some(self)) })
    }

    /// What sort of failure it is.
    ///
    /// The outermost layer that the engine labelled decides; without any label, a [`Trap`] in the
    /// chain makes it [`ErrorKind::Trap`].
    pub fn kind(&self) -> ErrorKind {
        if let Some(tag) = self.layers().find_map(|layer| layer.inner.tag) {
            return tag;
        }
        if self.is::<Trap>() {
            ErrorKind::Trap
        } else if self.is::<DecodeError>() {
            ErrorKind::InvalidModule
        } else {
            ErrorKind::Other
        }
    }

    /// Whether the root or a context value is an `E`.
    pub fn is<E>(&self) -> bool
    where
        E: Display + Debug + Send + Sync + 'static,
    {
        self.downcast_ref::<E>().is_some()
    }

    /// The outermost value of type `E` among context values and root.
    pub fn downcast_ref<E>(&self) -> Option<&E>
    where
        E: Display + Debug + Send + Sync + 'static,
    {
        self.layers().find_map(|layer| layer.inner.node.value().downcast_ref())
    }

    /// As [`downcast_ref`](Error::downcast_ref), to change the value.
    pub fn downcast_mut<E>(&mut self) -> Option<&mut E>
    where
        E: Display + Debug + Send + Sync + 'static,
    {
        let depth = self.layers().position(|layer| layer.inner.node.value().is::<E>())?;
        let mut error = self;
        for _ in 0..depth {
            error = error.inner.node.below_mut()?.0.as_mut()?;
        }
        error.inner.node.value_mut().downcast_mut()
    }

    /// Takes the value of type `E` out, dropping the rest.
    ///
    /// # Errors
    ///
    /// Gives the error back, unchanged, when it holds no such value.
    pub fn downcast<E>(self) -> Result<E, Error>
    where
        E: Display + Debug + Send + Sync + 'static,
    {
        if !self.is::<E>() {
            return Err(self);
        }
        let mut error = self;
        loop {
            match error.inner.node.take(TypeId::of::<E>()) {
                Ok(value) => return Ok(*value.downcast().expect("`take` compared the type")),
                Err(below) => error = below.expect("`is` found the value in a layer below"),
            }
        }
    }

    /// All layers from the outermost, then the sources of the root.
    ///
    /// ```
    /// let error = wardian::Error::msg("root").context("middle").context("top");
    /// let texts: Vec<String> = error.chain().map(|layer| layer.to_string()).collect();
    /// assert_eq!(texts, ["top", "middle", "root"]);
    /// ```
    pub fn chain(&self) -> Chain<'_> {
        Chain { next: Some(self.as_std()) }
    }

    /// The last of [`chain`](Error::chain).
    pub fn root_cause(&self) -> &(dyn StdError + 'static) {
        self.chain().last().expect("a chain holds at least the root")
    }

    /// As a standard error, for interfaces that want one.
    pub fn into_boxed_dyn_error(self) -> Box<dyn StdError + Send + Sync + 'static> {
        self.inner.node.into_std()
    }

    /// An error of the engine.
    pub(crate) fn tagged<M>(kind: ErrorKind, message: M) -> Error
    where
        M: Display + Debug + Send + Sync + 'static,
    {
        Error::msg(message).with_tag(kind)
    }

    /// Labels the error, whatever its inner layers say.
    pub(crate) fn with_tag(mut self, kind: ErrorKind) -> Error {
        self.inner.tag = Some(kind);
        self
    }

    /// Labels the error unless it says already what it is. An error that leaves a host function
    /// becomes [`ErrorKind::Host`] this way, and a trap that it passes on stays a trap.
    #[allow(dead_code, reason = "until the facade uses it: for the call path of host functions")]
    pub(crate) fn or_tag(self, kind: ErrorKind) -> Error {
        if self.kind() == ErrorKind::Other { self.with_tag(kind) } else { self }
    }

    fn from_node(node: impl Node + 'static) -> Error {
        Error { inner: Box::new(Inner { tag: None, node: Box::new(node) }) }
    }

    fn as_std(&self) -> &(dyn StdError + 'static) {
        self.inner.node.as_std()
    }

    fn layers(&self) -> impl Iterator<Item = &Error> {
        std::iter::successors(Some(self), |layer| layer.inner.node.below())
    }
}

impl<E> From<E> for Error
where
    E: StdError + Send + Sync + 'static,
{
    fn from(error: E) -> Error {
        Error::new(error)
    }
}

impl From<Error> for Box<dyn StdError + Send + Sync + 'static> {
    fn from(error: Error) -> Self {
        error.into_boxed_dyn_error()
    }
}

impl From<Error> for Box<dyn StdError + 'static> {
    fn from(error: Error) -> Self {
        error.into_boxed_dyn_error()
    }
}

impl AsRef<dyn StdError + 'static> for Error {
    fn as_ref(&self) -> &(dyn StdError + 'static) {
        self.as_std()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_std())?;
        if f.alternate() {
            self.chain().skip(1).try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write!(f, "{:#?}", self.as_std());
        }
        write!(f, "{}", self.as_std())?;
        let causes = self.chain().skip(1).count();
        if causes > 0 {
            f.write_str("\n\nCaused by:")?;
        }
        for (number, cause) in self.chain().skip(1).enumerate() {
            f.write_str("\n")?;
            let prefix = if causes > 1 { format!("{number:>5}: ") } else { String::from("    ") };
            f.write_str(&prefix)?;
            write!(Indented { inner: f, columns: prefix.len() }, "{cause}")?;
        }
        Ok(())
    }
}

/// Puts `columns` spaces after every line break, so that a cause of several lines stays one block.
struct Indented<'a, 'f> {
    inner: &'a mut fmt::Formatter<'f>,
    columns: usize,
}

impl fmt::Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                write!(self.inner, "\n{:1$}", "", self.columns)?;
            }
            self.inner.write_str(line)?;
        }
        Ok(())
    }
}

/// Iterator over the layers of an [`Error`]; see [`Error::chain`].
///
/// ```
/// let error = wardian::Error::msg("root").context("top");
/// let chain: wardian::error::Chain<'_> = error.chain();
/// assert_eq!(chain.len(), 2);
/// ```
#[derive(Clone)]
pub struct Chain<'a> {
    next: Option<&'a (dyn StdError + 'static)>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let error = self.next?;
        self.next = error.source();
        Some(error)
    }
}

impl ExactSizeIterator for Chain<'_> {
    fn len(&self) -> usize {
        self.clone().count()
    }
}

impl Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// `context` for results and options.
///
/// ```
/// use wardian::error::Context;
///
/// fn port(text: &str) -> wardian::Result<u16> {
///     text.parse().with_context(|| format!("`{text}` is no port"))
/// }
/// assert_eq!(port("80").unwrap(), 80);
/// assert_eq!(port("http").unwrap_err().to_string(), "`http` is no port");
/// assert_eq!(None::<u16>.context("no port given").unwrap_err().to_string(), "no port given");
/// ```
pub trait Context<T> {
    /// Puts a layer on the error, if there is one.
    fn context<C>(self, context: C) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static;

    /// As [`context`](Context::context), building the layer only when it is needed.
    fn with_context<C, F>(self, context: F) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static,
        F: FnOnce() -> C;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<C>(self, context: C) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static,
    {
        self.map_err(|error| error.into().context(context))
    }

    fn with_context<C, F>(self, context: F) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static,
        F: FnOnce() -> C,
    {
        self.map_err(|error| error.into().context(context()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context<C>(self, context: C) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static,
    {
        self.ok_or_else(|| Error::msg(context))
    }

    fn with_context<C, F>(self, context: F) -> Result<T, Error>
    where
        C: Display + Debug + Send + Sync + 'static,
        F: FnOnce() -> C,
    {
        self.ok_or_else(|| Error::msg(context()))
    }
}

/// Makes an [`Error`] from a format string, or from a value that is an error or can be shown.
///
/// ```
/// let name = "fetch";
/// assert_eq!(wardian::format_err!("no export `{name}`").to_string(), "no export `fetch`");
/// let error = wardian::format_err!(wardian::Trap::Interrupt);
/// assert!(error.is::<wardian::Trap>());
/// ```
#[macro_export]
macro_rules! format_err {
    ($message:literal $(,)?) => {
        $crate::Error::msg(::std::format!($message))
    };
    ($value:expr $(,)?) => {{
        #[allow(unused_imports, reason = "one of both is used, depending on the type")]
        use $crate::error::from_value::{FromError as _, FromMessage as _};
        match $value {
            value => (&value).wardian_source().make(value),
        }
    }};
    ($format:expr, $($argument:tt)*) => {
        $crate::Error::msg(::std::format!($format, $($argument)*))
    };
}

/// Returns `Err` of what [`format_err!`](crate::format_err) makes.
///
/// ```
/// fn check(pages: u64) -> wardian::Result<()> {
///     if pages > 16 {
///         wardian::bail!("{pages} pages are too many");
///     }
///     Ok(())
/// }
/// assert!(check(17).is_err());
/// ```
#[macro_export]
macro_rules! bail {
    ($($argument:tt)*) => {
        return ::std::result::Result::Err($crate::format_err!($($argument)*))
    };
}

/// Returns an error unless a condition holds.
///
/// ```
/// fn check(pages: u64) -> wardian::Result<()> {
///     wardian::ensure!(pages <= 16, "{pages} pages are too many");
///     wardian::ensure!(pages > 0);
///     Ok(())
/// }
/// assert_eq!(check(0).unwrap_err().to_string(), "condition failed: `pages > 0`");
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr $(,)?) => {
        $crate::ensure!($condition, "{}", ::std::concat!("condition failed: `", ::std::stringify!($condition), "`"))
    };
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            $crate::bail!($($argument)*);
        }
    };
}

/// How `format_err!(value)` finds out whether `value` is an error or only a text: method lookup tries
/// `&T` before `&&T`, so `FromError` wins where both apply.
#[doc(hidden)]
pub mod from_value {
    use super::*;

    pub trait FromError {
        fn wardian_source(&self) -> AsError;
    }

    impl<E: Into<Error>> FromError for E {
        fn wardian_source(&self) -> AsError {
            AsError
        }
    }

    pub trait FromMessage {
        fn wardian_source(&self) -> AsMessage;
    }

    impl<M: Display + Debug + Send + Sync + 'static> FromMessage for &M {
        fn wardian_source(&self) -> AsMessage {
            AsMessage
        }
    }

    pub struct AsError;

    impl AsError {
        pub fn make(self, error: impl Into<Error>) -> Error {
            error.into()
        }
    }

    pub struct AsMessage;

    impl AsMessage {
        pub fn make<M: Display + Debug + Send + Sync + 'static>(self, message: M) -> Error {
            Error::msg(message)
        }
    }
}

/// The root of a chain: an error value.
struct Root<E>(E);

impl<E: StdError + Send + Sync + 'static> Node for Root<E> {
    fn as_std(&self) -> &(dyn StdError + 'static) {
        &self.0
    }

    fn into_std(self: Box<Self>) -> Box<dyn StdError + Send + Sync> {
        Box::new(self.0)
    }

    fn value(&self) -> &(dyn Any + Send + Sync) {
        &self.0
    }

    fn value_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        &mut self.0
    }

    fn take(self: Box<Self>, want: TypeId) -> Result<Box<dyn Any>, Option<Error>> {
        if want == TypeId::of::<E>() { Ok(Box::new(self.0)) } else { Err(None) }
    }

    fn below(&self) -> Option<&Error> {
        None
    }

    fn below_mut(&mut self) -> Option<&mut Below> {
        None
    }
}

/// The root of a chain: a boxed error.
struct Boxed(Box<dyn StdError + Send + Sync>);

impl Node for Boxed {
    fn as_std(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }

    fn into_std(self: Box<Self>) -> Box<dyn StdError + Send + Sync> {
        self.0
    }

    fn value(&self) -> &(dyn Any + Send + Sync) {
        &self.0
    }

    fn value_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        &mut self.0
    }

    fn take(self: Box<Self>, want: TypeId) -> Result<Box<dyn Any>, Option<Error>> {
        if want == TypeId::of::<Box<dyn StdError + Send + Sync>>() {
            Ok(Box::new(self.0))
        } else {
            Err(None)
        }
    }

    fn below(&self) -> Option<&Error> {
        None
    }

    fn below_mut(&mut self) -> Option<&mut Below> {
        None
    }
}

/// The root of a chain: a message.
struct Message<M>(M);

impl<M: Display> Display for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl<M: Debug> Debug for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl<M: Display + Debug> StdError for Message<M> {}

impl<M: Display + Debug + Send + Sync + 'static> Node for Message<M> {
    fn as_std(&self) -> &(dyn StdError + 'static) {
        self
    }

    fn into_std(self: Box<Self>) -> Box<dyn StdError + Send + Sync> {
        self
    }

    fn value(&self) -> &(dyn Any + Send + Sync) {
        &self.0
    }

    fn value_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        &mut self.0
    }

    fn take(self: Box<Self>, want: TypeId) -> Result<Box<dyn Any>, Option<Error>> {
        if want == TypeId::of::<M>() { Ok(Box::new(self.0)) } else { Err(None) }
    }

    fn below(&self) -> Option<&Error> {
        None
    }

    fn below_mut(&mut self) -> Option<&mut Below> {
        None
    }
}

/// A context value on top of an error.
struct Layer<C> {
    context: C,
    below: Below,
}

/// The rest of a chain. Dropping it takes the chain apart layer by layer, without recursion.
struct Below(Option<Error>);

impl Drop for Below {
    fn drop(&mut self) {
        let mut rest = self.0.take();
        while let Some(mut error) = rest {
            rest = error.inner.node.below_mut().and_then(|below| below.0.take());
        }
    }
}

impl<C: Display> Display for Layer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.context, f)
    }
}

impl<C: Debug> Debug for Layer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("context", &self.context)
            .field("source", &self.below.0.as_ref().map(Error::as_std))
            .finish()
    }
}

impl<C: Display + Debug> StdError for Layer<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.below.0.as_ref().map(Error::as_std)
    }
}

impl<C: Display + Debug + Send + Sync + 'static> Node for Layer<C> {
    fn as_std(&self) -> &(dyn StdError + 'static) {
        self
    }

    fn into_std(self: Box<Self>) -> Box<dyn StdError + Send + Sync> {
        self
    }

    fn value(&self) -> &(dyn Any + Send + Sync) {
        &self.context
    }

    fn value_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        &mut self.context
    }

    fn take(self: Box<Self>, want: TypeId) -> Result<Box<dyn Any>, Option<Error>> {
        let Layer { context, mut below } = *self;
        if want == TypeId::of::<C>() { Ok(Box::new(context)) } else { Err(below.0.take()) }
    }

    fn below(&self) -> Option<&Error> {
        self.below.0.as_ref()
    }

    fn below_mut(&mut self) -> Option<&mut Below> {
        Some(&mut self.below)
    }
}

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Exit(i32);

    impl Display for Exit {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "exit with {}", self.0)
        }
    }

    impl StdError for Exit {}

    #[derive(Debug)]
    struct Wrapping(Exit);

    impl Display for Wrapping {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapping")
        }
    }

    impl StdError for Wrapping {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn root_and_contexts_can_be_downcast_to() {
        let mut error = Error::new(Exit(3)).context("text").context(7u8);
        assert_eq!(error.downcast_ref::<Exit>(), Some(&Exit(3)));
        assert_eq!(error.downcast_ref::<&str>(), Some(&"text"));
        assert!(error.is::<u8>() && !error.is::<u16>());
        error.downcast_mut::<Exit>().unwrap().0 = 4;
        *error.downcast_mut::<u8>().unwrap() += 1;
        let error = error.downcast::<u16>().unwrap_err();
        assert_eq!(error.to_string(), "8");
        assert_eq!(error.downcast::<Exit>().unwrap(), Exit(4));
        assert_eq!(Error::msg("a").context("b").downcast::<&str>().unwrap(), "b");
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        let boxed = Error::from_boxed(boxed).context(1);
        assert!(boxed.downcast::<Box<dyn StdError + Send + Sync>>().is_ok());
    }

    #[test]
    fn texts_show_the_chain() {
        let one = Error::new(Exit(3)).context("top");
        assert_eq!(format!("{one}"), "top");
        assert_eq!(format!("{one:#}"), "top: exit with 3");
        assert_eq!(format!("{one:?}"), "top\n\nCaused by:\n    exit with 3");
        let two = Error::new(Wrapping(Exit(1))).context("two\nlines").context("top");
        assert_eq!(
            format!("{two:?}"),
            "top\n\nCaused by:\n    0: two\n       lines\n    1: wrapping\n    2: exit with 1"
        );
        assert_eq!(two.root_cause().downcast_ref::<Exit>(), Some(&Exit(1)));
        assert_eq!(two.chain().len(), 4);
        assert_eq!(format!("{:?}", Error::msg("alone")), "alone");
        assert!(format!("{two:#?}").contains("Wrapping"));
    }

    #[test]
    fn standard_errors_come_and_go() {
        fn through() -> Result<(), Box<dyn StdError + Send + Sync>> {
            let inner = || -> Result<u8> { "x".parse::<u8>().context("reading") };
            inner()?;
            Ok(())
        }
        let error = through().unwrap_err();
        assert_eq!(error.to_string(), "reading");
        assert!(error.source().unwrap().is::<std::num::ParseIntError>());
        let plain: Box<dyn StdError> = Error::new(Exit(1)).into();
        assert!(plain.is::<Exit>());
    }

    #[test]
    fn kinds() {
        assert_eq!(Error::msg("x").kind(), ErrorKind::Other);
        assert_eq!(Error::from(Trap::Interrupt).context("x").kind(), ErrorKind::Trap);
        let host = Error::new(Exit(1)).or_tag(ErrorKind::Host);
        assert_eq!(host.context("in plugin").kind(), ErrorKind::Host);
        let trap = Error::from(Trap::Interrupt).or_tag(ErrorKind::Host);
        assert_eq!(trap.kind(), ErrorKind::Trap);
        assert_eq!(trap.with_tag(ErrorKind::Limit).context("x").kind(), ErrorKind::Limit);
    }

    #[test]
    fn macros_take_formats_errors_and_values() {
        let name = "n";
        assert_eq!(format_err!("{name} {}", 1).to_string(), "n 1");
        assert_eq!(format_err!(String::from("owned")).to_string(), "owned");
        assert!(format_err!(Exit(1)).is::<Exit>());
        assert!(format_err!(Error::new(Exit(1))).is::<Exit>());
        let fails = |n: i32| -> Result<()> {
            ensure!(n < 3, Exit(n));
            bail!("small: {n}")
        };
        assert!(fails(3).unwrap_err().is::<Exit>());
        assert_eq!(fails(2).unwrap_err().to_string(), "small: 2");
    }

    #[test]
    fn a_long_chain_drops_without_recursion() {
        let mut error = Error::msg("root");
        for n in 0..200_000u32 {
            error = error.context(n);
        }
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        thread.spawn(move || drop(error)).unwrap().join().unwrap();
    }
}
