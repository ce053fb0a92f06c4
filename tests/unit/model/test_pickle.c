#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/pickle.h"

#define PICKLE(text) (const uint8_t *)(text), sizeof(text) - 1

static void expect_refused(const uint8_t *bytes, size_t len, enum error_code code, const char *text)
{
    struct pickle *pickle = NULL;
    struct error err = {0};
    uint8_t *copy = malloc(len + 1); /* so that reading past the end is noticed */
    memcpy(copy, bytes, len);
    if (pickle_read("p", copy, len, &pickle, &err))
        fail_msg("accepted; expected \"%s\"", text);
    expect_error(&err, code, text);
    free(copy);
}

static struct pickle *expect_read(const uint8_t *bytes, size_t len)
{
    struct pickle *pickle = NULL;
    struct error err = {0};
    if (!pickle_read("p", bytes, len, &pickle, &err))
        fail_msg("%s", err.message);
    return pickle;
}

static void reads_plain_values(void **state)
{
    (void)state;
    struct pickle *pickle = expect_read(PICKLE("\x80\x02}(X\x01\0\0\0aK\x07U\x01"
                                               "bJ\xff\xff\xff\xffU\x01"
                                               "cG?\xf8\0\0\0\0\0\0U\x01"
                                               "d\x8a\x02\0\x80U\x01"
                                               "e\x88u."));
    const struct pickle_value *root = pickle_root(pickle);
    assert_int_equal(pickle_dict_get(root, "a")->integer, 7);
    assert_int_equal(pickle_dict_get(root, "b")->integer, -1);
    assert_true(pickle_dict_get(root, "c")->real == 1.5);
    assert_int_equal(pickle_dict_get(root, "d")->integer, -32768);
    assert_int_equal(pickle_dict_get(root, "e")->kind, PICKLE_BOOL);
    assert_null(pickle_dict_get(root, "f"));
    pickle_free(pickle);
}

static void reads_a_tensor(void **state)
{
    (void)state;
    struct pickle *pickle =
        expect_read(PICKLE("\x80\x02"
                           "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"
                           "0U\x03"
                           "cpuK\x06tQK\x01K\x02K\x02\x86K\x02K\x01\x86\x89"
                           "ccollections\nOrderedDict\n)RtR."));
    const struct pickle_value *root = pickle_root(pickle);
    assert_int_equal(root->kind, PICKLE_TENSOR);
    assert_int_equal(root->tensor.offset, 1);
    assert_int_equal(root->tensor.rank, 2);
    assert_int_equal(root->tensor.stride[0], 2);
    assert_int_equal(root->tensor.storage->storage.elements, 6);
    assert_int_equal(root->tensor.storage->storage.dtype, PICKLE_F32);
    pickle_free(pickle);
}

static void refuses_code(void **state)
{
    (void)state;
    static const char *const globals[] = {"os\nsystem", "posix\nsystem", "nt\nsystem", "subprocess\nPopen",
        "builtins\neval", "builtins\nexec", "builtins\ngetattr", "__builtin__\neval", "runpy\n_run_code",
        "torch\nload", "torch.hub\nload", "torch._utils\n_rebuild_sparse_tensor",
        "collections\nOrderedDict.x", "pytorch_lightningx\nx", "torch.serialization\nload",
        "importlib\nimport_module"};
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        struct bytes bytes = {0};
        bytes_text(&bytes, "\x80\x02"
                           "c");
        bytes_text(&bytes, globals[i]);
        bytes_text(&bytes, "\nX\x04");
        bytes_number(&bytes, 0, 3);
        bytes_text(&bytes, "true\x85R.");
        expect_refused(bytes.data, bytes.len, ERROR_DENIED, "which no weights need: refused");
        bytes_free(&bytes);
    }
    expect_refused(PICKLE("\x80\x02\x8c\x02os\x8c\x06system\x93)R."), ERROR_DENIED, "os.system");
    expect_refused(PICKLE("cos\x01\x7f\xff\nsys\x1b[31mtem\n."), ERROR_DENIED, "os???.sys?[31mtem");
    expect_refused(PICKLE("\x80\x04K\x01K\x02\x93."), ERROR_INVALID, "without a name");
    expect_refused(PICKLE("(S'x'\nios\nsystem\n."), ERROR_INVALID, "which torch does not write"); /* INST */
    expect_refused(PICKLE("(cos\nsystem\n(o."), ERROR_DENIED, "os.system");
    expect_refused(PICKLE("\x82\x01."), ERROR_INVALID, "which torch does not write"); /* EXT1 */
}

static void refuses_misused_calls(void **state)
{
    (void)state;
    expect_refused(PICKLE("K\x01)R."), ERROR_INVALID, "no function");
    expect_refused(PICKLE("ccollections\nOrderedDict\nK\x01R."), ERROR_INVALID, "no function");
    expect_refused(
        PICKLE("ccollections\nOrderedDict\nK\x01\x85R."), ERROR_INVALID, "dict made from arguments");
    expect_refused(PICKLE("ctorch\nFloatStorage\n)R."), ERROR_INVALID, "no function");
    expect_refused(PICKLE("ctorch\nFloatStorage\n)\x81."), ERROR_INVALID, "no function");
    expect_refused(PICKLE("ctorch._utils\n_rebuild_tensor_v2\n)R."), ERROR_INVALID, "invalid arguments");
    expect_refused(PICKLE("ctorch._utils\n_rebuild_parameter\nK\x01\x85R."), ERROR_INVALID, "no tensor");
    expect_refused(PICKLE("ctorch\nSize\nK\x01\x85R."), ERROR_INVALID, "no tuple");
    expect_refused(PICKLE("K\x01}b."), ERROR_INVALID, "attributes for what has none");
    expect_refused(PICKLE("ccollections\nOrderedDict\n}b."), ERROR_INVALID, "attributes for what has none");
    expect_refused(PICKLE("K\x01Q."), ERROR_INVALID, "no storage");
    expect_refused(PICKLE("(U\x07storageU\x01xU\x01"
                          "0U\x01"
                          "cK\x01tQ."),
        ERROR_INVALID, "no storage");
    expect_refused(PICKLE("(U\x07storagectorch\nFloatStorage\nU\x01"
                          "0U\x01"
                          "cJ\xff\xff\xff\xfftQ."),
        ERROR_INVALID, "no storage");
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
#define TENSOR(rest)                                                                                         \
    PICKLE("ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"                    \
           "0U\x01"                                                                                          \
           "cK\x06tQ" rest "tR.")
    expect_refused(TENSOR("J\xff\xff\xff\xffK\x01\x85K\x01\x85"), ERROR_INVALID, "invalid arguments");
    expect_refused(TENSOR("K\0K\x01\x85)"), ERROR_INVALID, "invalid arguments");
    expect_refused(TENSOR("K\0]]"), ERROR_INVALID, "invalid arguments");
    expect_refused(TENSOR("K\0J\xff\xff\xff\xff\x85K\x01\x85"), ERROR_INVALID, "sizes or strides");
    expect_refused(TENSOR("K\0K\x01\x85J\xff\xff\xff\xff\x85"), ERROR_INVALID, "sizes or strides");
    expect_refused(TENSOR("K\0N\x85N\x85"), ERROR_INVALID, "sizes or strides");
    expect_refused(TENSOR("K\0(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t("
                          "K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t"),
        ERROR_INVALID, "too many dimensions");
}

static void refuses_a_broken_stack(void **state)
{
    (void)state;
    expect_refused(PICKLE(""), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("N"), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("0."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("a."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("Na."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("s."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("NNs."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("NNa."), ERROR_INVALID, "no container");
    expect_refused(PICKLE("N(NNu."), ERROR_INVALID, "no container");
    expect_refused(PICKLE("}(Nu."), ERROR_INVALID, "without a value");
    expect_refused(PICKLE("(Nd."), ERROR_INVALID, "without a value");
    expect_refused(PICKLE("(NNu."), ERROR_INVALID, "stack is empty");
    expect_refused(
        PICKLE("N(R."), ERROR_INVALID, "stack is empty"); /* what is below a mark is out of reach */
    expect_refused(PICKLE("}NN(s."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("}(Na(u."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("t."), ERROR_INVALID, "no mark");
    expect_refused(PICKLE("1."), ERROR_INVALID, "no mark");
    expect_refused(PICKLE("\x85."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("N\x86."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("b."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("\x93."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("q\0."), ERROR_INVALID, "stack is empty");
    expect_refused(PICKLE("\x80\x06N."), ERROR_INVALID, "unknown protocol");
}

static void refuses_cut_off_values(void **state)
{
    (void)state;
    expect_refused(PICKLE("K"), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("J\x01\x02"), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("G\x01\x02"), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("X\xff\xff\xff\x7f.."), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("\x8b\xff\xff\xff\xff."), ERROR_INVALID, "ends inside");
    expect_refused(PICKLE("\x95\xff\xff\xff\xff\xff\xff\xff\xff."), ERROR_INVALID, "frame longer");
    expect_refused(PICKLE("ctorch"), ERROR_INVALID, "ends inside a global");
    expect_refused(PICKLE("ctorch\nFloat"), ERROR_INVALID, "ends inside a global");
}

static void bounds_the_memo(void **state)
{
    (void)state;
    expect_refused(PICKLE("h\0."), ERROR_INVALID, "never set");
    expect_refused(PICKLE("Nq\x05h\x04."), ERROR_INVALID, "never set");
    expect_refused(PICKLE("j\xff\xff\xff\xff."), ERROR_INVALID, "never set");
    expect_refused(PICKLE("Nr\xff\xff\xff\xff."), ERROR_INVALID, "too large");
}

/* Lists of lists that double at every level cost references only, and nothing here walks them. */
static void a_memo_bomb_stays_small(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    bytes_text(&bytes, "]q");
    bytes_number(&bytes, 0, 1);
    for (int level = 1; level < 200; level++) {
        bytes_text(&bytes, "](h");
        bytes_number(&bytes, (uint64_t)level - 1, 1);
        bytes_text(&bytes, "h");
        bytes_number(&bytes, (uint64_t)level - 1, 1);
        bytes_text(&bytes, "eq");
        bytes_number(&bytes, (uint64_t)level, 1);
    }
    bytes_text(&bytes, ".");
    struct pickle *pickle = expect_read(bytes.data, bytes.len);
    assert_int_equal(pickle_root(pickle)->list.count, 2);
    pickle_free(pickle);
    bytes_free(&bytes);
}

static void deep_and_cyclic_values_do_not_recurse(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    for (int i = 0; i < 500000; i++)
        bytes_text(&bytes, "]");
    for (int i = 1; i < 500000; i++)
        bytes_text(&bytes, "a");
    bytes_text(&bytes, ".");
    pickle_free(expect_read(bytes.data, bytes.len));
    bytes_free(&bytes);
    struct pickle *pickle = expect_read(PICKLE("]q\x01h\x01"
                                               "a."));
    assert_ptr_equal(pickle_root(pickle)->list.items[0], pickle_root(pickle));
    pickle_free(pickle);
    pickle = expect_read(PICKLE("}q\x01U\nstate_dicth\x01s."));
    assert_ptr_equal(pickle_dict_get(pickle_root(pickle), "state_dict"), pickle_root(pickle));
    pickle_free(pickle);
}

static void bounds_the_number_of_values(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    for (int i = 0; i <= PICKLE_VALUES_MAX; i++)
        bytes_text(&bytes, "N");
    bytes_text(&bytes, ".");
    expect_refused(bytes.data, bytes.len, ERROR_TOO_LARGE, "more than");
    bytes_free(&bytes);
}

static void drops_what_it_does_not_need(void **state)
{
    (void)state;
    struct pickle *pickle = expect_read(PICKLE("}(U\x01"
                                               "acargparse\nNamespace\n)\x81}U\x01xK\x01sbU\x01"
                                               "bcpytorch_lightning.callbacks\nEarlyStopping\n)RU\x01"
                                               "d\x8f(K\x01\x90U\x01"
                                               "e(K\x01\x91U\x01"
                                               "f\x8a\x09\0\0\0\0\0\0\0\0\x01u."));
    static const char *const keys[] = {"a", "b", "d", "e", "f"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(pickle_dict_get(pickle_root(pickle), keys[i])->kind, PICKLE_OPAQUE);
    pickle_free(pickle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_values),
        cmocka_unit_test(reads_a_tensor),
        cmocka_unit_test(refuses_code),
        cmocka_unit_test(refuses_misused_calls),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(refuses_a_broken_stack),
        cmocka_unit_test(refuses_cut_off_values),
        cmocka_unit_test(bounds_the_memo),
        cmocka_unit_test(a_memo_bomb_stays_small),
        cmocka_unit_test(deep_and_cyclic_values_do_not_recurse),
        cmocka_unit_test(bounds_the_number_of_values),
        cmocka_unit_test(drops_what_it_does_not_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
