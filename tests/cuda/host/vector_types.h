/* CUDA's vector types, with the alignment that makes a wide load one instruction. Stands in for the toolkit's
 * header of this name. */
#ifndef CUDA_EMULATION_VECTOR_TYPES_H
#define CUDA_EMULATION_VECTOR_TYPES_H

#define CUDA_EMULATION_VECTOR(type, name, align2, align4)                                                    \
    struct name##1                                                                                           \
    {                                                                                                        \
        type x;                                                                                              \
    };                                                                                                       \
    struct __attribute__((aligned(align2))) name##2                                                          \
    {                                                                                                        \
        type x, y;                                                                                           \
    };                                                                                                       \
    struct name##3                                                                                           \
    {                                                                                                        \
        type x, y, z;                                                                                        \
    };                                                                                                       \
    struct __attribute__((aligned(align4))) name##4                                                          \
    {                                                                                                        \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    typedef struct name##1 name##1;                                                                          \
    typedef struct name##2 name##2;                                                                          \
    typedef struct name##3 name##3;                                                                          \
    typedef struct name##4 name##4;

CUDA_EMULATION_VECTOR(signed char, char, 2, 4)
CUDA_EMULATION_VECTOR(unsigned char, uchar, 2, 4)
CUDA_EMULATION_VECTOR(short, short, 4, 8)
CUDA_EMULATION_VECTOR(unsigned short, ushort, 4, 8)
CUDA_EMULATION_VECTOR(int, int, 8, 16)
CUDA_EMULATION_VECTOR(unsigned int, uint, 8, 16)
CUDA_EMULATION_VECTOR(long long, longlong, 16, 16)
CUDA_EMULATION_VECTOR(unsigned long long, ulonglong, 16, 16)
CUDA_EMULATION_VECTOR(float, float, 8, 16)
CUDA_EMULATION_VECTOR(double, double, 16, 16)

struct dim3 {
    unsigned int x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z)
    {
    }
#endif
};
typedef struct dim3 dim3;

#ifdef __cplusplus
#define CUDA_EMULATION_MAKE(type, name)                                                                      \
    static inline name##1 make_##name##1(type x)                                                             \
    {                                                                                                        \
        return {x};                                                                                          \
    }                                                                                                        \
    static inline name##2 make_##name##2(type x, type y)                                                     \
    {                                                                                                        \
        return {x, y};                                                                                       \
    }                                                                                                        \
    static inline name##3 make_##name##3(type x, type y, type z)                                             \
    {                                                                                                        \
        return {x, y, z};                                                                                    \
    }                                                                                                        \
    static inline name##4 make_##name##4(type x, type y, type z, type w)                                     \
    {                                                                                                        \
        return {x, y, z, w};                                                                                 \
    }

CUDA_EMULATION_MAKE(signed char, char)
CUDA_EMULATION_MAKE(unsigned char, uchar)
CUDA_EMULATION_MAKE(short, short)
CUDA_EMULATION_MAKE(unsigned short, ushort)
CUDA_EMULATION_MAKE(int, int)
CUDA_EMULATION_MAKE(unsigned int, uint)
CUDA_EMULATION_MAKE(long long, longlong)
CUDA_EMULATION_MAKE(unsigned long long, ulonglong)
CUDA_EMULATION_MAKE(float, float)
CUDA_EMULATION_MAKE(double, double)
#undef CUDA_EMULATION_MAKE
#endif
#undef CUDA_EMULATION_VECTOR

#endif
